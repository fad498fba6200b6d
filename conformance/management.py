"""The management client of Azure, pointed at the server under test.

The client takes any credential: what its `get_token` returns goes out behind `Bearer`. Ours returns a shared access signature of a
policy, which is how a hub of one's own is managed without a tenant.
"""

import time
from typing import Any

from azure.core.credentials import AccessToken
from azure.mgmt.iothub import IotHubClient

import tokens
from subject import HOST, Hub

SUBSCRIPTION = "00000000-0000-0000-0000-00000000000a"
GROUP = "any-group"


class PolicyCredential:
    """A token of a policy, made anew whenever the client asks."""

    def __init__(self, name: str, key: str, host: str = HOST):
        self._name, self._key, self._host = name, key, host

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        expires = int(time.time()) + 600
        return AccessToken(tokens.signature_token(self._host, self._key, expires, policy=self._name), expires)


def management_client(hub: Hub, credential: PolicyCredential | None = None) -> IotHubClient:
    credential = credential or PolicyCredential(hub.policy.name, hub.policy.key)
    return IotHubClient(
        credential,
        SUBSCRIPTION,
        base_url=f"https://{HOST}:{hub.port('https')}",
        connection_verify=hub.ca_file,
        retry_total=0,
    )
