"""One server on the real ports for most cases; what a case needs of it comes from here.

Cases that need other settings or a restart start their own server on free ports (`own_hub`).
"""

import itertools
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.iot.hub import IoTHubRegistryManager

import mqtt_wire
import tokens
from event_readers import Tail
from mqtt_wire import MqttPeer
from subject import HOST, SDK_PORTS, Hub, SubjectFailure, binary

TAIL_GROUP = "conformance-tail"
NODE_TIMEOUT_SECS = 90
NODE_SCRIPTS = Path(__file__).parent / "node"


def pytest_sessionstart(session: pytest.Session) -> None:
    try:
        binary()
    except SubjectFailure as failure:
        pytest.exit(str(failure), returncode=2)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The shared server, with the one environment variable that gives `requests` its certificate authority."""
    with Hub(tmp_path_factory.mktemp("hub") / "data", SDK_PORTS) as running:
        os.environ["REQUESTS_CA_BUNDLE"] = running.ca_file
        yield running
        assert running.is_running(), f"the server died during the run:\n{running.log_tail()}"


@pytest.fixture
def own_hub(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    """Makes servers on free ports that end with the test."""
    started: list[Hub] = []

    def start(extra: list[str] | None = None) -> Hub:
        running = Hub(tmp_path / f"data{len(started)}", extra=extra).start()
        started.append(running)
        return running

    yield start
    for running in started:
        if running.is_running():
            running.stop()


@pytest.fixture(scope="session")
def registry(hub: Hub) -> IoTHubRegistryManager:
    return IoTHubRegistryManager.from_connection_string(hub.service_connection_string())


@pytest.fixture(scope="session")
def tail(hub: Hub) -> Iterator[Tail]:
    hub.create_consumer_group(TAIL_GROUP)
    running = Tail(hub.reader_connection_string(), hub.ca_file, TAIL_GROUP)
    yield running
    running.close()


@dataclass(frozen=True)
class Device:
    """A registered device and the ways to come in as it."""

    hub: Hub
    id: str
    key: str
    generation: str

    @property
    def user_name(self) -> str:
        return f"{HOST}/{self.id}/?api-version=2021-04-12"

    @property
    def connection_string(self) -> str:
        return self.hub.device_connection_string(self.id, self.key)

    def token(self, expires_at: int | None = None) -> str:
        return tokens.device_token(HOST, self.id, self.key, expires_at)

    def peer(self) -> MqttPeer:
        """A TLS connection that has said nothing yet."""
        return MqttPeer(self.hub.port("mqtt"), self.hub.ca_file)

    def connected(self, **options: object) -> MqttPeer:
        peer = self.peer()
        code, _ = peer.connect(self.id, self.user_name, self.token(), **options)
        assert code == 0, f"{self.id} was refused with code {code}"
        return peer

    def topic(self, properties: str = "") -> str:
        return mqtt_wire.telemetry_topic(self.id, properties)


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def register(hub: Hub, registry: IoTHubRegistryManager) -> Callable[..., Device]:
    def create(name: str, status: str = "enabled") -> Device:
        key = tokens.new_key()
        identity = registry.create_device_with_sas(f"{name}-{next(_numbers)}", key, tokens.new_key(), status)
        return Device(hub, identity.device_id, key, identity.generation_id)

    return create


@pytest.fixture
def device(request: pytest.FixtureRequest, register: Callable[..., Device]) -> Device:
    """A fresh device named after the case."""
    return register(re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-"))


@pytest.fixture(scope="session")
def node(hub: Hub) -> Callable[..., object]:
    """Runs one Node script with a request, and returns its result."""

    def run(script: str, request: dict, loopback_names: list[str] | None = None) -> object:
        environment = dict(os.environ, NODE_EXTRA_CA_CERTS=hub.ca_file)
        preload = []
        if loopback_names:
            environment["CONFORMANCE_LOOPBACK_NAMES"] = ",".join(loopback_names)
            preload = ["--import", "./names.js"]
        answer = subprocess.run(
            ["node", *preload, script],
            cwd=NODE_SCRIPTS,
            env=environment,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=NODE_TIMEOUT_SECS,
        )
        assert answer.returncode == 0, f"{script} ended with {answer.returncode}:\n{answer.stderr[-3000:]}"
        return json.loads(answer.stdout)

    return run


@pytest.fixture
def loopback_names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stands in for a name service inside this process, so that a dotted name can be used unregistered."""
    original = socket.getaddrinfo

    def use(*names: str) -> None:
        def getaddrinfo(host: object, *arguments: object, **options: object) -> object:
            return original(HOST if host in names else host, *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return use


@dataclass(frozen=True)
class Workload:
    """What the device client sent and the server acknowledged."""

    sent: dict[str, list]
    generations: dict[str, str]
    began: float
    # A moment between the first half and the second half, with half a second of silence on both sides.
    pause: float


@pytest.fixture(scope="session")
def workload(hub: Hub, register: Callable[..., Device]) -> Workload:
    """1,000 messages from eight devices through `azure-iot-device`; half of the devices use its asynchronous client."""
    from device_sdk import send_all
    from telemetry import DEVICES, messages_of

    devices = [register("telemetry") for _ in range(DEVICES)]
    plan = {d.id: messages_of(d.id) for d in devices}
    began = time.time()
    strings = {d.id: d.connection_string for d in devices}
    half = {name: messages[: len(messages) // 2] for name, messages in plan.items()}
    rest = {name: messages[len(messages) // 2 :] for name, messages in plan.items()}
    send_all(strings, half, hub.ca_file)
    time.sleep(0.5)
    pause = time.time()
    time.sleep(0.5)
    send_all(strings, rest, hub.ca_file)
    return Workload(plan, {d.id: d.generation for d in devices}, began, pause)
