"""Shared access signatures built by hand, for the cases in which an official client would refuse to send them."""

import base64
import hashlib
import hmac
import os
import time
from urllib.parse import quote


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def signature_token(resource: str, key: str, expires_at: int | None = None, policy: str | None = None) -> str:
    """`resource` is plain text, such as `localhost/devices/d1`; it is encoded the way the Python device client does it."""
    scope = quote(resource, safe="")
    expiry = int(time.time()) + 3600 if expires_at is None else expires_at
    signed = hmac.new(base64.b64decode(key), f"{scope}\n{expiry}".encode(), hashlib.sha256).digest()
    token = f"SharedAccessSignature sr={scope}&sig={quote(base64.b64encode(signed), safe='')}&se={expiry}"
    return f"{token}&skn={policy}" if policy else token


def device_token(host: str, device: str, key: str, expires_at: int | None = None, module: str | None = None) -> str:
    resource = f"{host}/devices/{device}" + (f"/modules/{module}" if module else "")
    return signature_token(resource, key, expires_at)
