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

import tokens
from back_end import BackEnd, Commands
from cut_line import CutLine
from device_client import DeviceClient
from event_readers import Tail
from identities import Device
from matrix import MATRIX
from node_peer import NodePeer
from proton_service import Door
from subject import HOST, SDK_PORTS, TELEMETRY_ONLY, Hub, SubjectFailure, binary

TAIL_GROUP = "conformance-tail"
# Another address of the loopback interface, so that the line can have the port that the clients have compiled in.
LINE = ("127.0.0.2", SDK_PORTS["mqtt"])
NODE_TIMEOUT_SECS = 90
NODE_SCRIPTS = Path(__file__).parent / "node"


def pytest_sessionstart(session: pytest.Session) -> None:
    try:
        binary()
    except SubjectFailure as failure:
        pytest.exit(str(failure), returncode=2)


def pytest_terminal_summary(terminalreporter: object) -> None:
    for line in MATRIX.lines():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The shared server, with the one environment variable that gives `requests` its certificate authority."""
    with Hub(tmp_path_factory.mktemp("hub") / "data", SDK_PORTS, TELEMETRY_ONLY) as running:
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


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def register(hub: Hub, registry: IoTHubRegistryManager) -> Callable[..., Device]:
    def create(name: str, status: str = "enabled") -> Device:
        key = tokens.new_key()
        identity = registry.create_device_with_sas(f"{name}-{next(_numbers)}", key, tokens.new_key(), status)
        return Device(hub, identity.device_id, key, identity.generation_id)

    return create


@pytest.fixture(scope="session")
def register_module(registry: IoTHubRegistryManager) -> Callable[..., Device]:
    def create(device: Device, name: str = "module") -> Device:
        key = tokens.new_key()
        identity = registry.create_module_with_sas(device.id, name, "conformance", key, tokens.new_key())
        return Device(device.hub, device.id, key, identity.generation_id, name)

    return create


@pytest.fixture
def device(request: pytest.FixtureRequest, register: Callable[..., Device]) -> Device:
    """A fresh device named after the case."""
    return register(re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-"))


@pytest.fixture
def module(device: Device, register_module: Callable[..., Device]) -> Device:
    """A fresh module of that device."""
    return register_module(device)


@pytest.fixture(params=["device", "module"])
def identity(request: pytest.FixtureRequest, device: Device) -> Device:
    """The case runs as a device and as a module."""
    return device if request.param == "device" else request.getfixturevalue("module")


@pytest.fixture(params=["sync", "aio"])
def client(request: pytest.FixtureRequest, hub: Hub, identity: Device) -> Iterator[DeviceClient]:
    """`azure-iot-device` connected as the identity, through its synchronous and its asynchronous client."""
    kind = "module" if identity.module else "device"
    with DeviceClient(identity.connection_string, hub.ca_file, request.param, kind) as connected:
        yield connected


@pytest.fixture
def back_end(identity: Device) -> BackEnd:
    return identity.back_end()


@pytest.fixture
def commands(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The AMQP half of the client asks `certifi` for the file of its certificate authorities, and takes no other."""
    monkeypatch.setattr("certifi.where", lambda: hub.ca_file)
    return Commands(IoTHubRegistryManager.from_connection_string(hub.service_connection_string()))


@pytest.fixture(scope="session")
def door(hub: Hub) -> Door:
    """The service's side of AMQP for a peer that knows nothing of Azure."""
    return Door.of(hub)


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
def node_service(hub: Hub) -> Iterator[NodePeer]:
    """`azure-iothub` signed in as the back end."""
    with NodePeer("service.js", hub.ca_file) as peer:
        peer.call("open", connectionString=hub.service_connection_string())
        yield peer


@pytest.fixture
def node_device(hub: Hub, identity: Device) -> Iterator[NodePeer]:
    """`azure-iot-device` for Node connected as the identity."""
    with NodePeer("device.js", hub.ca_file) as peer:
        peer.call("open", connectionString=identity.connection_string, module=identity.module is not None)
        yield peer


@pytest.fixture
def loopback_names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stands in for a name service inside this process, so that a dotted name can be used unregistered."""
    original = socket.getaddrinfo

    def use(*names: str) -> None:
        def getaddrinfo(host: object, *arguments: object, **options: object) -> object:
            return original(HOST if host in names else host, *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return use


@pytest.fixture
def line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[CutLine]:
    """A line to the MQTT port that can be cut. Clients of this process that use the dotted host name go through it."""
    original = socket.getaddrinfo

    def getaddrinfo(host: object, *arguments: object, **options: object) -> object:
        return original(LINE[0] if host == hub.dotted_name else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with CutLine(LINE, (HOST, hub.port("mqtt"))) as laid:
        yield laid


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
