"""A Node script that stays: requests go to it as lines of JSON, answers and events come back the same way."""

import contextlib
import json
import os
import queue
import subprocess
import threading
from pathlib import Path

SCRIPTS = Path(__file__).parent / "node"

ANSWER_TIMEOUT_SECS = 40
EVENT_TIMEOUT_SECS = 20
END_TIMEOUT_SECS = 10


class NodeRefusal(Exception):
    """The client under test reported an error; `name` is its class."""

    def __init__(self, error: dict):
        super().__init__(f"{error['name']}: {error['message']}")
        self.name = error["name"]
        self.message = error["message"]
        self.status = error.get("status")
        self.body = error.get("body")


class NodePeer:
    def __init__(self, script: str, ca_file: str):
        self._process = subprocess.Popen(
            ["node", script],
            cwd=SCRIPTS,
            env=dict(os.environ, NODE_EXTRA_CA_CERTS=ca_file),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._requests = 0
        self._answers: queue.Queue[dict] = queue.Queue()
        self._events: dict[str, queue.Queue[dict]] = {}
        self._lock = threading.Lock()
        self._complaints: list[str] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._read_complaints)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "NodePeer":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=END_TIMEOUT_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=END_TIMEOUT_SECS)

    def call(self, action: str, **request: object) -> object:
        """One action at a time. Raises `NodeRefusal` when the client under test reports an error."""
        self._requests += 1
        self._process.stdin.write(json.dumps({"id": self._requests, "action": action, **request}) + "\n")
        self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=ANSWER_TIMEOUT_SECS)
        except queue.Empty:
            raise AssertionError(f"no answer to {action}\n{self._complaint()}") from None
        assert answer.get("id") == self._requests, f"{action} was not answered: {answer}\n{self._complaint()}"
        if "error" in answer:
            raise NodeRefusal(answer["error"])
        return answer["result"]

    def next_event(self, kind: str, within_secs: float = EVENT_TIMEOUT_SECS) -> dict:
        try:
            return self._queue(kind).get(timeout=within_secs)
        except queue.Empty:
            raise AssertionError(f"no {kind} within {within_secs} s\n{self._complaint()}") from None

    def _queue(self, kind: str) -> queue.Queue:
        with self._lock:
            return self._events.setdefault(kind, queue.Queue())

    def _read(self) -> None:
        for line in self._process.stdout:
            told = json.loads(line)
            if "event" in told:
                self._queue(told["event"]).put(told["data"])
            else:
                self._answers.put(told)
        self._answers.put({"ended": True})

    def _read_complaints(self) -> None:
        self._complaints.extend(self._process.stderr)

    def _complaint(self) -> str:
        return "".join(self._complaints[-40:])
