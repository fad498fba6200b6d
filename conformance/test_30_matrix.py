"""The matrix: every official client over every transport that it has, with every kind of credential, one conversation each.

Other files go into the depth of each operation; here each is done once everywhere, and the outcome printed as a table at the end.
"""

import base64
import threading
import time
from collections.abc import Callable

import pytest
from azure.eventhub import EventHubConsumerClient, TransportType
from azure.storage.blob import BlobClient

import tokens
from back_end import own
from certificates import RSA, Pair, Workshop
from command_queue import await_queued
from device_client import DeviceClient
from event_readers import observed
from identities import Device
from matrix import DEVICE_OPERATIONS, MATRIX, READER_OPERATIONS, SERVICE_OPERATIONS, Row
from node_peer import NodePeer
from subject import HOST, Hub

DEVICES = "devices and modules"
SERVICES = "back ends"
READERS = "readers"

NO_BATCH = "azure-iot-device (Python) sends single messages only"
NO_BATCH_NODE = "azure-iot-device (Node) has batches over HTTPS only"
NO_REJECT_MQTT = "MQTT has no way to reject a message"
NO_REJECT_PYTHON = "azure-iot-device (Python) settles messages itself"
ONLY_MESSAGES = "the protocol has telemetry, commands and files only"
NO_MODULE_CERTIFICATES = "the module client of azure-iot-device (Node) takes keys only"
NO_MODULE_MESSAGES = "module clients of the SDKs receive inputs of an edge hub, not commands"
NO_MODULE_UPLOAD = "files belong to devices"

PYTHON_TRANSPORTS = {"mqtt": False, "mqtt-ws": True}
NODE_TRANSPORTS = ("mqtt", "mqtt-ws", "amqp", "amqp-ws", "http")
# Module clients take no token that was made for them, and do not speak HTTPS.
DEVICE_CREDENTIALS = ("device key", "own token", "policy token", "thumbprint", "CA", "chain of three")
MODULE_CREDENTIALS = ("module key", "module thumbprint", "module CA")


def own_token(device: Device) -> str:
    return device.token()


def policy_token(device: Device) -> str:
    """Signed with a key of the hub for this one device."""
    policy = device.hub.policy
    return tokens.signature_token(f"{HOST}/devices/{device.id}", policy.key, policy=policy.name)


TOKENS = {"own token": own_token, "policy token": policy_token}


def shown_to(workshop: Workshop, kind: str, name: str) -> Pair:
    """The certificate of a device or module whose credential is of this kind."""
    if kind.endswith("thumbprint"):
        return workshop.self_signed("any name", RSA)
    if kind.endswith("CA"):
        return workshop.issued(name, workshop.root)
    return workshop.chain_of_three(name)


def is_certificate(credential: str) -> bool:
    return credential.split()[-1] in ("thumbprint", "CA", "three")


def missing_of(client: str, transport: str, credential: str) -> dict[str, str]:
    missing = {}
    if client == "python":
        missing |= {"batch": NO_BATCH, "reject": NO_REJECT_PYTHON}
    elif transport != "http":
        missing |= {"batch": NO_BATCH_NODE}
    if transport.startswith("mqtt"):
        missing.setdefault("reject", NO_REJECT_MQTT)
    if transport == "http":
        missing |= dict.fromkeys(("twin", "report", "desired", "method"), ONLY_MESSAGES)
    if client == "node" and credential in ("module thumbprint", "module CA"):
        return dict.fromkeys(DEVICE_OPERATIONS, NO_MODULE_CERTIFICATES)
    if credential.startswith("module"):
        missing |= dict.fromkeys(("command", "reject"), NO_MODULE_MESSAGES) | {"upload": NO_MODULE_UPLOAD}
    return missing


def device_rows(client: str, transports: tuple[str, ...]) -> list[Row]:
    return [
        Row(DEVICES, client, transport, credential, DEVICE_OPERATIONS, missing_of(client, transport, credential))
        for transport in transports
        for credential in DEVICE_CREDENTIALS + MODULE_CREDENTIALS
        if not (transport == "http" and credential in MODULE_CREDENTIALS)
    ]


def by_row(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


@pytest.fixture(scope="module")
def workshop(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop(tmp_path_factory.mktemp("certificates"))
    made.be_trusted_by(hub)
    return made


@pytest.fixture
def pair(row: Row, device: Device, request: pytest.FixtureRequest) -> Pair | None:
    """The certificate of the row's device or module, if it logs in with one."""
    if not is_certificate(row.credential):
        return None
    name = f"{device.id}-x509" + ("/certified" if row.credential.startswith("module") else "")
    return shown_to(request.getfixturevalue("workshop"), row.credential, name)


@pytest.fixture
def holder(row: Row, device: Device, pair: Pair | None, registry, request: pytest.FixtureRequest) -> Device:
    """The device, or a module of it, that the row's credential is of."""
    is_module = row.credential.startswith("module")
    if pair is None:
        return request.getfixturevalue("module") if is_module else device
    name = f"{device.id}-x509"
    # One registers the digest of today, and the other one that old tools print.
    thumbprints = (pair.thumbprint("sha256"), pair.thumbprint("sha1"))
    by_thumbprint = row.credential.endswith("thumbprint")
    if is_module:
        registry.create_device_with_sas(name, tokens.new_key(), tokens.new_key(), "enabled")
        if by_thumbprint:
            made = registry.create_module_with_x509(name, "certified", "conformance", *thumbprints)
        else:
            made = registry.create_module_with_certificate_authority(name, "certified", "conformance")
        return Device(device.hub, name, "", made.generation_id, "certified")
    if by_thumbprint:
        made = registry.create_device_with_x509(name, *thumbprints, "enabled")
    else:
        made = registry.create_device_with_certificate_authority(name, "enabled")
    return Device(device.hub, name, "", made.generation_id)


# Devices and modules.


@by_row(device_rows("python", tuple(PYTHON_TRANSPORTS)))
def test_python_device(row, hub, holder, pair, tail, commands):
    token = TOKENS[row.credential](holder) if row.credential in TOKENS else None
    kind = "module" if holder.module else "device"
    client = DeviceClient(
        holder.connection_string,
        hub.ca_file,
        kind=kind,
        token=token,
        certificate=(holder.id, holder.module, pair) if pair else None,
        websockets=PYTHON_TRANSPORTS[row.transport],
    )
    back_end = holder.back_end()

    def telemetry() -> None:
        client.send("over the matrix")
        arrived(tail, holder, row, ["over the matrix"])

    def twin() -> None:
        back_end.patch(desired={"before": 1})
        assert client.get_twin() == {"desired": {"before": 1, "$version": 2}, "reported": {"$version": 1}}

    def report() -> None:
        client.report({"a": {"b": 1}})
        assert own(back_end.twin().properties.reported) == {"a": {"b": 1}}

    def desired() -> None:
        client.listen_for_desired()
        back_end.patch(desired={"after": 2})
        assert client.next_patch() == {"after": 2, "$version": 3}

    def method() -> None:
        client.serve(lambda request: (207, {"asked": request.payload}))
        assert back_end.invoke("ask", [1], connect_secs=10) == (207, {"asked": [1]})

    def command() -> None:
        client.listen_for_messages()
        commands.send(holder.id, "do it")
        assert client.next_message().data == b"do it"
        await_queued(holder, 0)

    def upload() -> None:
        place = client.begin_upload("matrix.txt")
        url = f"https://{HOST}:{hub.port('https')}/{place['containerName']}/{place['blobName']}{place['sasToken']}"
        with BlobClient.from_blob_url(url, connection_verify=hub.ca_file) as blob:
            blob.upload_blob(b"a file")
        client.end_upload(place["correlationId"])

    steps = {
        "connect": client.connect,
        "telemetry": telemetry,
        "twin": twin,
        "report": report,
        "desired": desired,
        "method": method,
        "command": command,
        "upload": upload,
    }
    try:
        MATRIX.hold(row, offered(row, steps))
    finally:
        client.shutdown()


@by_row(device_rows("node", NODE_TRANSPORTS))
def test_node_device(row, hub, holder, pair, tail, node_service):
    opening = {"connectionString": holder.connection_string, "module": holder.module is not None}
    if pair:
        middle = f"ModuleId={holder.module};" if holder.module else ""
        opening["connectionString"] = f"HostName={HOST};DeviceId={holder.id};{middle}x509=true"
        opening["certificate"] = {"cert": pair.certificate.read_text(), "key": pair.key.read_text()}
    if row.credential in TOKENS:
        opening["token"] = TOKENS[row.credential](holder)
    back_end = holder.back_end()
    with NodePeer("device.js", hub.ca_file) as peer:

        def telemetry() -> None:
            peer.call("send", body="over the matrix")
            arrived(tail, holder, row, ["over the matrix"])

        def batch() -> None:
            peer.call("sendBatch", messages=[{"body": "one"}, {"body": "two"}])
            arrived(tail, holder, row, ["over the matrix", "one", "two"])

        def twin() -> None:
            back_end.patch(desired={"before": 1})
            assert peer.call("getTwin") == {"desired": {"before": 1, "$version": 2}, "reported": {"$version": 1}}

        def report() -> None:
            peer.call("report", patch={"a": {"b": 1}})
            assert own(back_end.twin().properties.reported) == {"a": {"b": 1}}

        def desired() -> None:
            peer.call("watchDesired", path="")
            peer.next_event("desired")  # The client tells the present state first.
            back_end.patch(desired={"after": 2})
            assert peer.next_event("desired")["value"] == {"after": 2, "$version": 3}

        def method() -> None:
            peer.call("serveMethods", answers={"ask": {"status": 207, "payload": {"yes": [1]}}})
            assert back_end.invoke("ask", [1], connect_secs=10) == (207, {"yes": [1]})

        def settled_by(outcome: str) -> None:
            node_service.call("send", device=holder.id, body=outcome)
            message = peer.next_event("message")
            assert (message["body"], message["outcome"]) == (outcome, outcome)
            peer.next_event("settled")
            await_queued(holder, 0)

        def command() -> None:
            outcomes = ["complete"] if "reject" in row.missing else ["complete", "reject"]
            peer.call("settleMessages", outcomes=outcomes)
            settled_by("complete")

        def upload() -> None:
            peer.call("upload", name="matrix.txt", body=base64.b64encode(b"a file").decode())

        steps = {
            "connect": lambda: peer.call("open", transport=row.transport, retries=False, caFile=hub.ca_file, **opening),
            "telemetry": telemetry,
            "batch": batch,
            "twin": twin,
            "report": report,
            "desired": desired,
            "method": method,
            "command": command,
            "reject": lambda: settled_by("reject"),
            "upload": upload,
        }
        MATRIX.hold(row, offered(row, steps))


def offered(row: Row, steps: dict[str, Callable[[], None]]) -> dict[str, Callable[[], None]]:
    return {operation: step for operation, step in steps.items() if operation not in row.missing}


def arrived(tail, holder: Device, row: Row, bodies: list[str]) -> None:
    """The messages lie with the reader, stamped with how their sender was let in."""
    scope = "hub" if row.credential == "policy token" else "module" if holder.module else "device"
    kind = "x509" if is_certificate(row.credential) else "sas"
    # A module's messages are those of its device as well, which has sent none here.
    events = tail.of_device(holder.id, len(bodies))
    assert [event.body.decode() for event in events] == bodies
    for event in events:
        assert f'"scope":"{scope}","type":"{kind}"' in event.annotations["iothub-connection-auth-method"]
        assert event.annotations.get("iothub-connection-module-id") == holder.module


# Back ends.

AMQP_ONLY_COMMANDS = "azure-iot-hub (Python) sends commands over AMQP and has no receiver"


@by_row([Row(SERVICES, "python", "https, amqp", "policy key", SERVICE_OPERATIONS, dict.fromkeys(("feedback", "files"), AMQP_ONLY_COMMANDS))])
def test_python_service(row, hub, device, registry, commands):
    name = f"{device.id}-made"
    back_end = device.back_end()

    def bulk() -> None:
        from azure.iot.hub.models import ExportImportDevice

        made = [ExportImportDevice(id=f"{name}-{number}", import_mode="create", status="enabled") for number in range(3)]
        assert registry.bulk_create_or_update_devices(made).is_successful

    def make() -> None:
        registry.create_device_with_sas(name, tokens.new_key(), tokens.new_key(), "enabled")
        assert registry.get_device(name).status == "enabled"
        registry.delete_device(name)

    def twin() -> None:
        assert own(back_end.patch(desired={"a": 1}).properties.desired) == {"a": 1}

    def method() -> None:
        with DeviceClient(device.connection_string, hub.ca_file) as client:
            client.serve(lambda _: (200, "yes"))
            assert back_end.invoke("ask", connect_secs=10) == (200, "yes")

    def command() -> None:
        commands.send(device.id, "do it")
        await_queued(device, 1)

    steps = {"registry": make, "bulk": bulk, "twin": twin, "method": method, "command": command}
    MATRIX.hold(row, steps)


@by_row([Row(SERVICES, "node", f"https, {transport}", "policy key", SERVICE_OPERATIONS) for transport in ("amqp", "amqp-ws")])
def test_node_service(row, hub, device, node_device_of):
    name = f"{device.id}-made"
    with NodePeer("service.js", hub.ca_file) as service, node_device_of(device) as peer:

        def make() -> None:
            service.call("open", connectionString=hub.service_connection_string(), transport=row.transport.split(", ")[1])
            service.call("registry", method="create", args=[{"deviceId": name, "status": "enabled"}])
            assert service.call("registry", method="get", args=[name])["status"] == "enabled"
            service.call("registry", method="delete", args=[name])

        def bulk() -> None:
            made = [{"deviceId": f"{name}-{number}", "status": "enabled"} for number in range(3)]
            assert service.call("registry", method="addDevices", args=[made])["isSuccessful"]

        def twin() -> None:
            patch = {"properties": {"desired": {"a": 1}}}
            updated = service.call("updateTwin", args=[device.id], patch=patch)
            assert own(updated["properties"]["desired"]) == {"a": 1}

        def method() -> None:
            peer.call("serveMethods", answers={"ask": {"status": 200, "payload": "yes"}})
            params = {"methodName": "ask", "payload": None, "connectTimeoutInSeconds": 10}
            assert service.call("invoke", device=device.id, module=None, params=params)["payload"] == "yes"

        def command() -> None:
            service.call("receiveFeedback")
            service.call("send", device=device.id, body="do it", messageId=f"{device.id}-1", ack="full")
            peer.call("receiveMessages")
            assert peer.next_event("message")["body"] == "do it"

        def feedback() -> None:
            while True:
                told = service.next_event("feedback")["records"]
                if any(record["originalMessageId"] == f"{device.id}-1" for record in told):
                    return

        def files() -> None:
            service.call("receiveFiles")
            peer.call("upload", name="matrix.txt", body=base64.b64encode(b"a file").decode())
            while service.next_event("file")["deviceId"] != device.id:
                pass

        steps = {
            "registry": make,
            "bulk": bulk,
            "twin": twin,
            "method": method,
            "command": command,
            "feedback": feedback,
            "files": files,
        }
        MATRIX.hold(row, steps)


@pytest.fixture
def node_device_of(hub) -> Callable[[Device], NodePeer]:
    def connected(device: Device) -> NodePeer:
        peer = NodePeer("device.js", hub.ca_file)
        peer.call("open", connectionString=device.connection_string, module=False)
        return peer

    return connected


# Readers.


@by_row([Row(READERS, "python", transport, "policy key", READER_OPERATIONS) for transport in ("amqp", "amqp-ws")])
def test_python_reader(row, hub, device):
    transport = TransportType.AmqpOverWebsocket if row.transport == "amqp-ws" else TransportType.Amqp

    def client() -> EventHubConsumerClient:
        return EventHubConsumerClient.from_connection_string(
            hub.reader_connection_string(), "$Default", connection_verify=hub.ca_file, transport_type=transport, retry_total=0
        )

    def properties() -> None:
        with client() as asking:
            assert asking.get_partition_ids() == ["0", "1", "2", "3"]

    def reading(start: str, publish: bool) -> None:
        """Publishes before or during the reading, and waits for the message."""
        body = f"{row.transport} {start}".encode()
        found = threading.Event()

        def on_event(_: object, event: object) -> None:
            if event is not None and observed("", event).body == body:
                found.set()

        if not publish:
            publish_one(device, body)
        # One receiver for each partition: one for all of them visits them in turn.
        receivers = [client() for _ in range(4)]
        threads = [
            threading.Thread(
                target=receiver.receive,
                kwargs={"on_event": on_event, "partition_id": str(partition), "starting_position": start, "max_wait_time": 1},
                daemon=True,
            )
            for partition, receiver in enumerate(receivers)
        ]
        for thread in threads:
            thread.start()
        try:
            deadline = time.monotonic() + 20
            # Over WebSocket this client hands over what it has read only after a second without anything new.
            while not found.wait(3):
                assert time.monotonic() < deadline, "the message was not read"
                if publish:
                    # Again and again, because the client does not tell when it reads.
                    publish_one(device, body)
        finally:
            for receiver in receivers:
                receiver.close()
            for thread in threads:
                thread.join(timeout=10)

    steps = {
        "properties": properties,
        "from the start": lambda: reading("-1", publish=False),
        "from now on": lambda: reading("@latest", publish=True),
    }
    MATRIX.hold(row, steps)


@by_row([Row(READERS, "node", transport, "policy key", READER_OPERATIONS) for transport in ("amqp", "amqp-ws")])
def test_node_reader(row, hub, device, node):
    request = {"connectionString": hub.reader_connection_string(), "webSocket": row.transport == "amqp-ws"}

    def properties() -> None:
        assert node("event_hubs.js", request | {"action": "properties"})["hub"]["partitionIds"] == ["0", "1", "2", "3"]

    def ends() -> dict[str, int]:
        partitions = node("event_hubs.js", request | {"action": "properties"})["partitions"]
        return {part["partitionId"]: part["lastEnqueuedSequenceNumber"] for part in partitions}

    def from_the_start() -> None:
        publish_one(device, b"for the reader")
        result = node("event_hubs.js", request | {"action": "read", "ends": {p: e for p, e in ends().items() if e >= 0}})
        assert not result["errors"], result["errors"]
        assert any(base64.b64decode(event["body"]) == b"for the reader" for event in result["events"])

    def from_now_on() -> None:
        before = ends()
        publish_one(device, b"later")
        [(partition, last)] = [(p, e) for p, e in ends().items() if e > before[p]]
        start = {"sequenceNumber": before[partition], "isInclusive": False} if before[partition] >= 0 else {"offset": "-1"}
        result = node("event_hubs.js", request | {"action": "read", "ends": {partition: last}, "startPosition": start})
        assert [base64.b64decode(event["body"]) for event in result["events"]] == [b"later"]

    steps = {"properties": properties, "from the start": from_the_start, "from now on": from_now_on}
    MATRIX.hold(row, steps)


def publish_one(device: Device, body: bytes) -> None:
    with device.connected() as peer:
        peer.publish(device.topic(), body)
