"""The registry over plain HTTPS, for servers on free ports: the official client knows port 443 only."""

import requests

import tokens
from subject import HOST, Hub

TIMEOUT_SECS = 10


class ServiceHttp:
    def __init__(self, hub: Hub):
        self._hub = hub

    def create_device(self, device_id: str) -> dict:
        return self._call("PUT", device_id, {"deviceId": device_id, "status": "enabled"})

    def get_device(self, device_id: str) -> dict:
        return self._call("GET", device_id)

    def _call(self, method: str, device_id: str, body: dict | None = None) -> dict:
        answer = requests.request(
            method,
            f"https://{HOST}:{self._hub.port('https')}/devices/{device_id}?api-version=2021-04-12",
            headers={"Authorization": tokens.signature_token(HOST, self._hub.policy.key, policy=self._hub.policy.name)},
            json=body,
            verify=self._hub.ca_file,
            timeout=TIMEOUT_SECS,
        )
        assert answer.status_code == 200, f"{method} {device_id}: {answer.status_code} {answer.text}"
        return answer.json()
