"""MQTT and AMQP over WebSocket on port 443: both device SDKs, both readers, the service client, and requests that are no upgrade."""

import base64
import socket
import ssl
from pathlib import Path

import pytest
from azure.eventhub import EventHubConsumerClient, TransportType
from azure.iot.device import IoTHubDeviceClient

from device_sdk import options, to_message
from event_readers import observed
from subject import HOST
from telemetry import assert_same, message_to_send

MESSAGES = 20
READ_TIMEOUT_SECS = 20


def messages_for(device) -> list:
    return [message_to_send(device.id, index) for index in range(MESSAGES)]


def assert_arrived(tail, device, sent) -> None:
    for message, event in zip(sent, tail.of_device(device.id, len(sent)), strict=True):
        assert_same(message, event)


def for_node(message, **changes) -> dict:
    return {
        "index": message.index,
        "body": base64.b64encode(message.body).decode(),
        "messageId": message.message_id,
        "correlationId": message.correlation_id,
        "contentType": message.content_type,
        "contentEncoding": message.content_encoding,
        "properties": message.properties,
    } | changes


def test_python_device_sends_over_websocket(hub, device, tail):
    sent = messages_for(device)
    client = IoTHubDeviceClient.create_from_connection_string(
        device.connection_string, websockets=True, **options(hub.ca_file)
    )
    try:
        client.connect()
        for message in sent:
            client.send_message(to_message(message))
    finally:
        client.shutdown()
    assert_arrived(tail, device, sent)
    records = [record for record in hub.records(device.id) if record["kind"] == "connected"]
    assert [record["protocol"] for record in records] == ["mqtt-ws"]


def test_python_device_reaches_megabytes_in_messages_of_full_size(hub, device, tail):
    client = IoTHubDeviceClient.create_from_connection_string(
        device.connection_string, websockets=True, **options(hub.ca_file)
    )
    bodies = [bytes([number]) * 250_000 for number in range(8)]
    try:
        client.connect()
        for body in bodies:
            client.send_message(body)
    finally:
        client.shutdown()
    assert [event.body for event in tail.of_device(device.id, len(bodies))] == bodies


def test_node_device_sends_over_websocket(hub, device, tail, node):
    # The client has no place for a user id.
    sent = [message for message in messages_for(device) if message.user_id is None]
    request = {
        "transport": "mqtt-ws",
        "connectionString": device.connection_string,
        "caFile": hub.ca_file,
        "messages": [for_node(message) for message in sent],
    }
    outcome = node("device_telemetry.js", request)
    assert outcome["error"] is None
    assert outcome["accepted"] == [message.index for message in sent]
    assert_arrived(tail, device, sent)


def test_wrong_key_over_websocket_is_refused_in_the_protocol(hub, device, register, node):
    request = {
        "transport": "mqtt-ws",
        "connectionString": hub.device_connection_string(device.id, register("other").key),
        "caFile": hub.ca_file,
        "messages": [],
    }
    outcome = node("device_telemetry.js", request)
    assert outcome["error"]["name"] in ("UnauthorizedError", "NotConnectedError")
    assert hub.await_record("refused", "signature", device.id)["protocol"] == "mqtt-ws"


def test_python_reader_over_websocket(hub, device, node):
    with device.connected() as peer:
        peer.publish(device.topic(), b"to be read over a WebSocket", packet_id=1)
    found = []
    client = EventHubConsumerClient.from_connection_string(
        hub.reader_connection_string(),
        "$Default",
        connection_verify=hub.ca_file,
        transport_type=TransportType.AmqpOverWebsocket,
        retry_total=0,
    )
    with client:
        for partition in client.get_partition_ids():
            last = client.get_partition_properties(partition)["last_enqueued_sequence_number"]
            if last < 0:
                continue
            found += read_all(client, partition, last)
    assert any(event.device == device.id and event.body == b"to be read over a WebSocket" for event in found)


def read_all(client, partition: str, last: int) -> list:
    import threading

    found, done = [], threading.Event()

    def on_event(context, event) -> None:
        if event is not None:
            found.append(observed(context.partition_id, event))
            if event.sequence_number >= last:
                done.set()

    thread = threading.Thread(
        target=client.receive,
        kwargs={"on_event": on_event, "partition_id": partition, "starting_position": "-1", "max_wait_time": 1},
        daemon=True,
    )
    thread.start()
    assert done.wait(READ_TIMEOUT_SECS), f"partition {partition}: stopped after {len(found)} events"
    return found


def test_node_reader_over_websocket(hub, workload, node):
    request = {
        "action": "read",
        "connectionString": hub.reader_connection_string(),
        "ends": {"0": 0, "1": 0},
        "webSocket": True,
    }
    result = node("event_hubs.js", request)
    assert not result["errors"], result["errors"]
    assert result["events"]


def test_node_service_opens_over_websocket(hub, node):
    request = {"connectionString": hub.service_connection_string()}
    outcome = node("service_amqp_ws.js", request)
    assert outcome["opened"], outcome["error"]


GOOD = {
    "Host": HOST,
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "mqtt",
}


def head_of(hub, path: str = "/$iothub/websocket", **changes: str | None) -> str:
    """The head of the answer to an upgrade request with other headers; `None` leaves one out."""
    headers = GOOD | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    context = ssl.create_default_context(cadata=Path(hub.ca_file).read_text())
    with socket.create_connection((HOST, hub.port("https")), 10) as tcp, context.wrap_socket(tcp, server_hostname=HOST) as tls:
        tls.sendall("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = tls.recv(4096)
            if not piece:
                break
            head += piece
    return head.decode(errors="replace")


@pytest.mark.parametrize(
    ("path", "offered", "answered"),
    [
        ("/$iothub/websocket", "mqtt", "mqtt"),
        ("/$iothub/websocket?iothub-no-client-cert=true", "MQTT", "MQTT"),
        ("/$iothub/websocket", "mqttv3.1, mqtt", "mqtt"),
        ("/$iothub/websocket", "AMQPWSB10", "AMQPWSB10"),
        ("/$servicebus/websocket", "AMQPWSB10", "AMQPWSB10"),
        ("/$servicebus/websocket/", "amqp", "amqp"),
    ],
)
def test_upgrades_that_clients_ask_for(hub, path, offered, answered):
    head = head_of(hub, path, Sec_WebSocket_Protocol=offered)
    assert head.startswith("HTTP/1.1 101 "), head
    assert f"sec-websocket-protocol: {answered}\r\n" in head
    assert "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head


@pytest.mark.parametrize(
    ("changes", "status", "telling"),
    [
        ({"Upgrade": None}, 400, "Upgrade: websocket"),
        ({"Sec_WebSocket_Version": "8"}, 426, "sec-websocket-version: 13"),
        ({"Sec_WebSocket_Key": "short"}, 400, "Sec-WebSocket-Key"),
        ({"Sec_WebSocket_Protocol": "chat"}, 400, "mqtt and AMQPWSB10"),
        ({"Sec_WebSocket_Protocol": None}, 400, "mqtt and AMQPWSB10"),
    ],
)
def test_requests_that_are_no_upgrade(hub, changes, status, telling):
    known = hub.known_records()
    head = head_of(hub, **changes)
    assert head.startswith(f"HTTP/1.1 {status} "), head
    assert telling in head
    hub.await_record("refused", "no_websocket", known=known)
