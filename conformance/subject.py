"""The server under test: the one file that knows how the `ironhub` binary is started, asked and stopped.

The binary is chosen from outside (`IRONHUB_BIN`). Should a flag, a field or a sub-command change its name, it changes here and
nowhere else. Tests see a `Hub`: names, ports, connection strings, and the records the operator would read.
"""

import json
import os
import queue
import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

# The official clients have these numbers compiled in, so the shared server is started on them.
SDK_PORTS = {"mqtt": 8883, "amqp": 5671, "https": 443, "amqp-plain": 5672, "admin": 0}
FREE_PORTS = {"mqtt": 0, "amqp": 0, "https": 0, "amqp-plain": 0, "admin": 0}

# Every certificate of `ironhub dev` names it, and no name service is needed to find it.
HOST = "localhost"

# `ironhub dev` writes events of every source; cases that count telemetry want nothing else among it.
TELEMETRY_ONLY = ["--set", "hubs.hub1.event_sources="]

STRICT_EXPIRY_FLAGS = ["--set", "limits.sas_clock_skew_secs=0", "--set", "limits.sas_expiry_grace_secs=0"]

START_TIMEOUT_SECS = 30
STOP_TIMEOUT_SECS = 20
COMMAND_TIMEOUT_SECS = 20


class SubjectFailure(AssertionError):
    """The binary itself did not do what a start, a stop or a command promises."""


def binary() -> str:
    path = os.environ.get("IRONHUB_BIN", "")
    if not path:
        raise SubjectFailure("IRONHUB_BIN is not set: it names the ironhub binary to test")
    if not os.access(path, os.X_OK):
        raise SubjectFailure(f"IRONHUB_BIN={path} is not an executable file")
    return str(Path(path).resolve())


def dev_arguments(data: Path, ports: dict[str, int], extra: list[str]) -> list[str]:
    arguments = [binary(), "dev", "--data", str(data), "--output", "json"]
    for name, number in ports.items():
        arguments += [f"--{name}-port", str(number)]
    return arguments + extra


def split_connection_string(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(";") if part)


@dataclass(frozen=True)
class Policy:
    name: str
    key: str


class Hub:
    """One running server with one hub. Use as a context manager, or call `start` and `stop`."""

    def __init__(self, data: Path, ports: dict[str, int] = FREE_PORTS, extra: list[str] | None = None):
        self.data = Path(data)
        self.requested_ports = ports
        self.extra = extra or []
        self.stdout_lines: list[str] = []
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Hub":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> "Hub":
        self.data.mkdir(parents=True, exist_ok=True)
        self.stdout_lines = []
        self._log = open(self.log_path, "ab")  # noqa: SIM115 (lives as long as the process)
        self.process = subprocess.Popen(
            dev_arguments(self.data, self.requested_ports, self.extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        first_line: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read_stdout, args=(first_line,), daemon=True)
        self._reader.start()
        try:
            line = first_line.get(timeout=START_TIMEOUT_SECS)
        except queue.Empty:
            line = ""
        if not line.strip():
            self.kill()
            raise SubjectFailure(f"no line of JSON on standard output; standard error ends with:\n{self.log_tail()}")
        self.description = json.loads(line)
        return self

    def stop(self) -> int:
        """Asks for a drained stop and returns the exit status."""
        process = self._running_process()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(timeout=STOP_TIMEOUT_SECS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise SubjectFailure(f"SIGTERM did not end the server within {STOP_TIMEOUT_SECS} s") from None
        self._reader.join(timeout=5)
        self._log.close()
        return status

    def kill(self) -> None:
        process = self._running_process()
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)

    def is_running(self) -> bool:
        return self._running_process().poll() is None

    @property
    def log_path(self) -> Path:
        return self.data.parent / f"{self.data.name}.stderr.log"

    def log_tail(self, bytes_max: int = 4000) -> str:
        return self.log_path.read_bytes()[-bytes_max:].decode(errors="replace")

    # What the line of JSON said.

    @property
    def name(self) -> str:
        return self.description["hub"]

    @property
    def host_name(self) -> str:
        return self.description["hostName"]

    @property
    def dotted_name(self) -> str:
        """A name as a hub on the internet has it; no name service knows it."""
        return next(name for name in self.description["aliases"] if re.search(r"\.[a-z]+$", name))

    @property
    def label(self) -> str:
        """The first label of the host name: what SASL PLAIN user names end with."""
        return self.host_name.split(".")[0]

    @property
    def ca_file(self) -> str:
        return self.description["caFile"]

    @property
    def entity(self) -> str:
        return split_connection_string(self.description["eventHubConnectionString"])["EntityPath"]

    @property
    def policy(self) -> Policy:
        parts = split_connection_string(self.description["serviceConnectionString"])
        return Policy(parts["SharedAccessKeyName"], parts["SharedAccessKey"])

    def port(self, name: str) -> int:
        return int(self.description["ports"][name])

    # Connection strings as a developer would write them for this machine.

    def service_connection_string(self, host: str = HOST) -> str:
        return f"HostName={host};SharedAccessKeyName={self.policy.name};SharedAccessKey={self.policy.key}"

    def device_connection_string(self, device: str, key: str, host: str = HOST, module: str | None = None) -> str:
        middle = f"ModuleId={module};" if module else ""
        return f"HostName={host};DeviceId={device};{middle}SharedAccessKey={key}"

    def reader_connection_string(self, host: str = HOST) -> str:
        return (
            f"Endpoint=sb://{host}/;SharedAccessKeyName={self.policy.name};"
            f"SharedAccessKey={self.policy.key};EntityPath={self.entity}"
        )

    def emulator_connection_string(self) -> str:
        return (
            f"Endpoint=sb://{HOST}:{self.port('amqpPlain')};SharedAccessKeyName={self.policy.name};"
            f"SharedAccessKey={self.policy.key};UseDevelopmentEmulator=true;EntityPath={self.entity}"
        )

    # The operator's side.

    def command(self, *arguments: str) -> subprocess.CompletedProcess:
        environment = dict(os.environ, IRONHUB_CONTEXT_FILE=self.description["contextFile"])
        return subprocess.run(
            [binary(), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECS,
        )

    def run(self, arguments: list[str]) -> str:
        """What a command prints that must succeed."""
        answer = self.command(*arguments)
        if answer.returncode != 0:
            raise SubjectFailure(f"{' '.join(arguments)}: status {answer.returncode}\n{answer.stderr}")
        return answer.stdout

    def create_consumer_group(self, name: str) -> None:
        answer = self.command("consumer-group", "create", name)
        if answer.returncode != 0:
            raise SubjectFailure(f"consumer-group create {name}: status {answer.returncode}\n{answer.stderr}")

    def records(self, device: str | None = None) -> list[dict]:
        filters = ["--device", device] if device else []
        answer = self.command("events", "--output", "json", *filters)
        if answer.returncode != 0:
            raise SubjectFailure(f"events: status {answer.returncode}\n{answer.stderr}")
        return [json.loads(line) for line in answer.stdout.splitlines() if line.strip()]

    def known_records(self) -> set[str]:
        """What is on record now; `await_record` can be told to look past it."""
        return {json.dumps(record, sort_keys=True) for record in self.records()}

    def await_record(
        self,
        kind: str,
        telling: str,
        device: str | None = None,
        known: set[str] | None = None,
        within_secs: float = 6,
    ) -> dict:
        """The newest record of this kind whose words match `telling` (a case-insensitive regular expression).

        The match runs over step, reason, text, expected and found together, so a test states what an operator must be
        able to learn, not the sentence in which it is said. Without a device of its own, a case must pass the records that
        were known before, or an older one would satisfy it.
        """
        assert device or known is not None, "a record of any device needs `known`"
        deadline = time.monotonic() + within_secs
        while True:
            records = [r for r in self.records(device) if json.dumps(r, sort_keys=True) not in (known or ())]
            for record in reversed(records):
                words = " ".join(str(record.get(f, "")) for f in ("step", "reason", "text", "expected", "found"))
                if record.get("kind") == kind and re.search(telling, words, re.IGNORECASE):
                    return record
            if time.monotonic() > deadline:
                seen = "\n".join(json.dumps(r) for r in records[-8:]) or "(none)"
                raise SubjectFailure(f"no {kind} record about {device or 'the peer'} matching /{telling}/; last records:\n{seen}")
            time.sleep(0.2)

    def _read_stdout(self, first_line: "queue.Queue[str]") -> None:
        for line in self._running_process().stdout:
            self.stdout_lines.append(line)
            if len(self.stdout_lines) == 1:
                first_line.put(line)
        if not self.stdout_lines:
            first_line.put("")

    def _running_process(self) -> subprocess.Popen:
        if self.process is None:
            raise SubjectFailure("the server was never started")
        return self.process


def refused_start(data: Path, ports: dict[str, int] = FREE_PORTS) -> subprocess.CompletedProcess:
    """Runs a start that is expected to end by itself."""
    return subprocess.run(
        dev_arguments(data, ports, []),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_SECS,
    )
