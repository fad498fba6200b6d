"""The service's REST calls over plain HTTPS: for servers on free ports, and for bodies that the official clients cannot send."""

import requests

import tokens
from subject import HOST, Hub

TIMEOUT_SECS = 20
API_VERSION = "2021-04-12"


class ServiceHttp:
    def __init__(self, hub: Hub):
        self._hub = hub

    def create_device(self, device_id: str) -> dict:
        return self.json("PUT", f"/devices/{device_id}", {"deviceId": device_id, "status": "enabled"})

    def create_module(self, device_id: str, module_id: str) -> dict:
        body = {"deviceId": device_id, "moduleId": module_id}
        return self.json("PUT", f"/devices/{device_id}/modules/{module_id}", body)

    def get_device(self, device_id: str) -> dict:
        return self.json("GET", f"/devices/{device_id}")

    def delete(self, path: str) -> None:
        answer = self.call("DELETE", path, headers={"If-Match": "*"})
        assert answer.status_code == 204, f"DELETE {path}: {answer.status_code} {answer.text}"

    def json(self, method: str, path: str, body: object = None) -> dict:
        """A call that has to succeed, and its answer."""
        answer = self.call(method, path, body)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def call(
        self, method: str, path: str, body: object = None, headers: dict | None = None, data: bytes | None = None
    ) -> requests.Response:
        """Any call. `data` is sent as it is, in place of `body`."""
        token = tokens.signature_token(HOST, self._hub.policy.key, policy=self._hub.policy.name)
        content_type = {"Content-Type": "application/json; charset=utf-8"} if data is not None else {}
        return requests.request(
            method,
            f"https://{HOST}:{self._hub.port('https')}{path}",
            params={"api-version": API_VERSION},
            headers={"Authorization": token} | content_type | (headers or {}),
            json=body,
            data=data,
            verify=self._hub.ca_file,
            timeout=TIMEOUT_SECS,
        )
