"""fe2o3-amqp as a peer that stays: requests go to it as lines of JSON, answers come back the same way."""

import base64
import contextlib
import json
import os
import subprocess
import threading
from dataclasses import dataclass

from subject import SubjectFailure

END_TIMEOUT_SECS = 10
# What a message needs that is on its way, and what shows that none is.
RECEIVE_MS = 10_000
QUIET_MS = 700
ANSWER_TIMEOUT_SECS = 30


class Refused(Exception):
    """The client reported an error: where it ended, and the condition that the server gave."""

    def __init__(self, error: dict):
        super().__init__(f"{error['where']}: {error['condition']}: {error['text']}")
        self.where = error["where"]
        self.condition = error["condition"]


@dataclass(frozen=True)
class Received:
    body: bytes
    message_id: str | None
    content_type: str | None
    to: str | None
    properties: dict[str, str]
    annotations: dict[str, object]


def message(body: bytes, **fields: object) -> dict:
    return {"body": base64.b64encode(body).decode(), **fields}


class Fe2o3Peer:
    """One process with one connection. Links have names."""

    def __init__(self, port: int, ca_file: str, virtual_host: str, **credentials: object):
        path = os.environ.get("FE2O3_PEER", "")
        if not os.access(path, os.X_OK):
            raise SubjectFailure("FE2O3_PEER names no executable file: conformance/run builds it")
        self._process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self._call("open", port=port, caFile=ca_file, virtualHost=virtual_host, **credentials)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Fe2o3Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=END_TIMEOUT_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=END_TIMEOUT_SECS)
        self._process.stdout.close()

    def put_token(self, audience: str, token: str) -> dict:
        return self._call("putToken", audience=audience, token=token)

    def attach_sender(self, link: str, address: str) -> None:
        self._call("attachSender", link=link, address=address)

    def attach_receiver(self, link: str, address: str, selector: str | None = None, by_number: bool = False) -> None:
        self._call("attachReceiver", link=link, address=address, selector=selector, byNumber=by_number)

    def send(self, link: str, body: bytes, **fields: object) -> dict:
        """The outcome."""
        return self._call("send", link=link, message=message(body, **fields))

    def send_batch(self, link: str, messages: list[dict]) -> dict:
        return self._call("sendBatch", link=link, messages=messages)

    def credit(self, link: str, credit: int) -> None:
        self._call("credit", link=link, credit=credit)

    def drain(self, link: str) -> None:
        self._call("drain", link=link)

    def receive(self, link: str, settle: str = "accept", within_ms: int = RECEIVE_MS) -> Received:
        received = self._receive(link, settle, within_ms)
        assert received is not None, f"no message came on {link} within {within_ms} ms"
        return received

    def is_quiet(self, link: str) -> bool:
        """Whether no message comes for a while."""
        return self._receive(link, "accept", QUIET_MS) is None

    def _receive(self, link: str, settle: str, within_ms: int) -> Received | None:
        found = self._call("receive", link=link, settle=settle, withinMs=within_ms)
        if found is None:
            return None
        body = base64.b64decode(found["body"])
        fields = (found["messageId"], found["contentType"], found["to"], found["properties"], found["annotations"])
        return Received(body, *fields)

    def _call(self, action: str, **request: object) -> object:
        self._process.stdin.write(json.dumps({"action": action, **request}) + "\n")
        self._process.stdin.flush()
        # A peer that hangs is ended, and its missing answer fails the case.
        overdue = threading.Timer(ANSWER_TIMEOUT_SECS, self._process.kill)
        overdue.start()
        try:
            line = self._process.stdout.readline()
        finally:
            overdue.cancel()
        assert line, f"no answer to {action}: the peer ended or took longer than {ANSWER_TIMEOUT_SECS} s"
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]
