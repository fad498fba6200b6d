"""A real OpenID Connect server (`oidc-provider`) and the back ends that sign in with its tokens."""

import time
from types import SimpleNamespace

import requests
from azure.iot.hub import IoTHubRegistryManager

from node_peer import NodePeer


class Issuer:
    """An issuer with applications, each with claims of its own."""

    def __init__(self, ca_file: str, applications: dict[str, dict], kind: str = "EC"):
        self._peer = NodePeer("identity_provider.js", ca_file)
        self.url = self._peer.call("open", applications=applications, kind=kind)["issuer"]

    def __enter__(self) -> "Issuer":
        return self

    def __exit__(self, *error: object) -> None:
        self._peer.__exit__(*error)

    def roll(self, **options: object) -> None:
        self._peer.call("roll", **options)

    def key_set(self) -> dict:
        return self._peer.call("keySet")

    def token(self, application: str) -> str:
        form = {"grant_type": "client_credentials", "client_id": application, "client_secret": "secret"}
        answer = requests.post(f"{self.url}/token", data=form, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]


class OneToken:
    """What `azure-core` calls a token credential."""

    def __init__(self, token: str):
        self._token = token

    def get_token(self, *_: str, **__: object) -> SimpleNamespace:
        return SimpleNamespace(token=self._token, expires_on=int(time.time()) + 3600)


def back_end(host: str, token: str) -> IoTHubRegistryManager:
    return IoTHubRegistryManager.from_token_credential(host, OneToken(token))
