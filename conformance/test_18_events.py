"""What the hub itself tells on the built-in endpoint, read by `azure-eventhub`: twins, identities and connections that change."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

import mqtt_wire
import tokens
from event_readers import Tail
from mqtt_wire import MqttPeer
from service_http import ServiceHttp
from subject import HOST, Hub
from telemetry import Observed

CREATED = ("deviceLifecycleEvents", "createDeviceIdentity")
DELETED = ("deviceLifecycleEvents", "deleteDeviceIdentity")
UPDATED = ("twinChangeEvents", "updateTwin")
REPLACED = ("twinChangeEvents", "replaceTwin")
CONNECTED = ("deviceConnectionStateEvents", "deviceConnected")
DISCONNECTED = ("deviceConnectionStateEvents", "deviceDisconnected")

SCHEMAS = {
    "deviceLifecycleEvents": "deviceLifecycleNotification",
    "twinChangeEvents": "twinChangeNotification",
    "deviceConnectionStateEvents": "deviceConnectionStateNotification",
}

TIME_OF_SEVEN_DIGITS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z")


@pytest.fixture(scope="module")
def talkative(tmp_path_factory) -> Iterator[Hub]:
    """A server with every source of events, which is what `ironhub dev` starts with."""
    with Hub(tmp_path_factory.mktemp("talkative") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def told(talkative) -> Iterator[Tail]:
    running = Tail(talkative.emulator_connection_string(), None, "$Default")
    yield running
    running.close()


@pytest.fixture(scope="module")
def service(talkative) -> ServiceHttp:
    return ServiceHttp(talkative)


def kind(event: Observed) -> tuple[str, str]:
    return event.annotations["iothub-message-source"], event.properties.get("opType", "")


def body(event: Observed) -> dict:
    return json.loads(event.body)


def connected(hub: Hub, device: str, key: str, module: str | None = None) -> MqttPeer:
    peer = MqttPeer(hub.port("mqtt"), hub.ca_file)
    client_id = f"{device}/{module}" if module else device
    token = tokens.device_token(HOST, device, key, module=module)
    assert peer.connect(client_id, f"{HOST}/{client_id}/?api-version=2021-04-12", token)[0] == 0
    return peer


def report(peer: MqttPeer, patch: dict) -> None:
    topic = "$iothub/twin/PATCH/properties/reported/?$rid=1"
    peer.subscribe(("$iothub/twin/res/#", 0), packet_id=99)
    peer.send(mqtt_wire.publish_packet(topic, json.dumps(patch).encode(), qos=0))
    assert peer.next_publish().topic.startswith("$iothub/twin/res/204/")


def key_of(identity: dict) -> str:
    return identity["authentication"]["symmetricKey"]["primaryKey"]


def assert_stamped(hub: Hub, event: Observed, device: str, module: str | None, since: float) -> None:
    """What all events of the hub itself have in common."""
    source, _ = kind(event)
    assert event.content_type == "application/json"
    assert event.content_encoding == "utf-8"
    assert event.correlation_id
    assert event.user_id == hub.name
    stamps, properties = event.annotations, event.properties
    assert stamps["iothub-connection-device-id"] == properties["deviceId"] == device
    assert stamps.get("iothub-connection-module-id") == properties.get("moduleId") == module
    assert (since - 5) * 1000 <= stamps["iothub-enqueuedtime"] <= (time.time() + 5) * 1000
    assert not {"iothub-connection-auth-method", "iothub-connection-auth-generation-id", "x-opt-partition-key"} & stamps.keys()
    assert set(properties) - {"moduleId"} == {"hubName", "deviceId", "operationTimestamp", "iothub-message-schema", "opType"}
    assert properties["hubName"] == hub.name
    assert properties["iothub-message-schema"] == SCHEMAS[source]
    assert TIME_OF_SEVEN_DIGITS.fullmatch(properties["operationTimestamp"])
    happened = datetime.fromisoformat(properties["operationTimestamp"][:-2] + "+00:00").astimezone(UTC).timestamp()
    assert since - 5 <= happened <= time.time() + 5


@pytest.mark.parametrize("module", [None, "m"], ids=["device", "module"])
def test_identities_that_come_and_go_are_told(talkative, service, told, module):
    since, device = time.time(), f"lifecycle-{module}"
    service.create_device(device)
    path = f"/devices/{device}"
    if module:
        service.create_module(device, module)
        path += f"/modules/{module}"
    service.delete(path)
    events = told.of_device(device, 3 if module else 2)
    created, deleted = events[-2:]
    assert [kind(event) for event in events] == [CREATED] * (len(events) - 1) + [DELETED]
    for event in (created, deleted):
        assert_stamped(talkative, event, device, module, since)
        twin = body(event)
        assert (twin["deviceId"], twin.get("moduleId")) == (device, module)
        assert twin["version"] == 2
        assert twin["etag"] == "AAAAAAAAAAE="
        for section in ("desired", "reported"):
            assert twin["properties"][section]["$version"] == 1
            assert "$lastUpdated" in twin["properties"][section]["$metadata"]


@pytest.mark.parametrize("module", [None, "m"], ids=["device", "module"])
def test_twin_changes_are_told_in_part(talkative, service, told, module):
    since, device = time.time(), f"twin-{module}"
    service.create_device(device)
    path, before = f"/twins/{device}", 1
    if module:
        service.create_module(device, module)
        path, before = f"{path}/modules/{module}", 2
    service.json("PATCH", path, {"tags": {"t": 1}, "properties": {"desired": {"a": {"b": 1}}}})
    service.json("PATCH", path, {"properties": {"desired": {"a": {"b": None}, "c": [1]}}})
    first, second = told.of_device(device, before + 2)[before:]
    for event in (first, second):
        assert kind(event) == UPDATED
        assert_stamped(talkative, event, device, module, since)
    assert body(first)["tags"] == {"t": 1}
    desired = body(first)["properties"]["desired"]
    assert (desired["a"], desired["$version"]) == ({"b": 1}, 2)
    assert desired["$metadata"]["a"]["b"]["$lastUpdatedVersion"] == 2
    assert "reported" not in body(first)["properties"]
    assert body(second)["version"] == body(first)["version"] + 1
    assert "tags" not in body(second)
    desired = body(second)["properties"]["desired"]
    assert {name: desired[name] for name in ("a", "c", "$version")} == {"a": {"b": None}, "c": [1], "$version": 3}


def test_a_replaced_twin_is_told_whole(talkative, service, told):
    since, device = time.time(), "replaced"
    service.create_device(device)
    service.json("PATCH", f"/twins/{device}", {"tags": {"old": 1}})
    service.json("PUT", f"/twins/{device}", {"tags": {"new": 1}, "properties": {"desired": {"d": 1}}})
    event = told.of_device(device, 3)[2]
    assert kind(event) == REPLACED
    assert_stamped(talkative, event, device, None, since)
    twin = body(event)
    assert (twin["deviceId"], twin["tags"]) == (device, {"new": 1})
    assert twin["etag"] == service.json("GET", f"/twins/{device}")["etag"]
    assert twin["properties"]["desired"]["d"] == 1
    assert twin["properties"]["reported"]["$version"] == 1


def test_reports_are_told(talkative, service, told):
    since, device = time.time(), "reporting"
    key = key_of(service.create_device(device))
    with connected(talkative, device, key) as peer:
        report(peer, {"a": 1, "gone": None})
        peer.disconnect()
    event = next(e for e in told.of_device(device, 2) if kind(e) == UPDATED)
    assert_stamped(talkative, event, device, None, since)
    reported = body(event)["properties"]["reported"]
    assert (reported["a"], reported["$version"]) == (1, 2)
    assert set(reported["$metadata"]["a"]) == {"$lastUpdated"}
    assert "desired" not in body(event)["properties"]


@pytest.mark.parametrize("module", [None, "m"], ids=["device", "module"])
def test_connections_that_come_and_go_are_told_in_order(talkative, service, told, module):
    since, device = time.time(), f"connection-{module}"
    key, before = key_of(service.create_device(device)), 1
    if module:
        key, before = key_of(service.create_module(device, module)), 2
    for number in (1, 2):
        with connected(talkative, device, key, module) as peer:
            # A connection counts once the device has used it.
            topic = f"devices/{device}/" + (f"modules/{module}/" if module else "") + "messages/events/"
            peer.publish(topic, b"%d" % number)
            peer.disconnect()
        # Quick changes may be told as one.
        events = await_kinds(told, device, before, [CONNECTED, DISCONNECTED] * number)
    numbers = [body(event)["sequenceNumber"] for event in events]
    assert numbers == sorted(set(numbers))
    assert all(re.fullmatch("[0-9A-F]{64}", number) for number in numbers)
    for event in events:
        assert_stamped(talkative, event, device, module, since)
        assert set(body(event)) == {"sequenceNumber"}


def await_kinds(told: Tail, device: str, skip: int, kinds: list[tuple[str, str]]) -> list[Observed]:
    """The events of the connection among all of the device, once they are the expected ones."""
    deadline = time.monotonic() + 15
    while True:
        events = [e for e in told.of_device(device, skip) if e.annotations["iothub-message-source"] == CONNECTED[0]]
        if [kind(event) for event in events] == kinds:
            return events
        assert time.monotonic() < deadline, f"expected {kinds}, read {[kind(event) for event in events]}"
        time.sleep(0.1)


def test_events_of_one_device_keep_their_order_among_its_telemetry(talkative, service, told):
    device = "ordered"
    key = key_of(service.create_device(device))
    with connected(talkative, device, key) as peer:
        for number in range(5):
            peer.publish(mqtt_wire.telemetry_topic(device), b"%d" % number, packet_id=number + 1)
            service.json("PATCH", f"/twins/{device}", {"tags": {"number": number}})
    events = [e for e in told.of_device(device, 11) if kind(e)[0] in ("Telemetry", "twinChangeEvents")]
    seen = [e.body.decode() if kind(e)[0] == "Telemetry" else body(e)["tags"]["number"] for e in events]
    assert seen == ["0", 0, "1", 1, "2", 2, "3", 3, "4", 4]
    assert len({event.partition for event in events}) == 1


def test_telemetry_of_a_module_names_the_module(talkative, service, told):
    device = "speaking"
    service.create_device(device)
    key = key_of(service.create_module(device, "m"))
    with connected(talkative, device, key, "m") as peer:
        peer.publish(f"devices/{device}/modules/m/messages/events/a=b", b"from the module")
    event = next(e for e in told.of_device(device, 3) if kind(e)[0] == "Telemetry")
    assert (event.body, event.properties) == (b"from the module", {"a": "b"})
    assert event.annotations["iothub-connection-module-id"] == "m"
    assert json.loads(event.annotations["iothub-connection-auth-method"])["scope"] == "module"


def test_a_refused_write_is_not_told(service, told):
    device = "refused"
    service.create_device(device)
    assert service.call("PATCH", f"/twins/{device}", {"tags": {"a b": 1}}).status_code == 400
    assert service.call("PATCH", f"/twins/{device}", {"tags": {"a": 1}}, headers={"If-Match": '"stale"'}).status_code == 412
    service.json("PATCH", f"/twins/{device}", {"tags": {"last": True}})
    events = told.of_device(device, 2)
    assert [kind(event) for event in events] == [CREATED, UPDATED]
    assert body(events[1])["tags"] == {"last": True}


def test_only_the_sources_that_are_switched_on_are_told(own_hub):
    hub = own_hub(["--set", "hubs.hub1.event_sources=lifecycle"])
    service = ServiceHttp(hub)
    key = key_of(service.create_device("quiet"))
    service.json("PATCH", "/twins/quiet", {"tags": {"a": 1}})
    with connected(hub, "quiet", key) as peer:
        peer.publish(mqtt_wire.telemetry_topic("quiet"), b"telemetry")
        peer.disconnect()
    service.delete("/devices/quiet")
    tail = Tail(hub.emulator_connection_string(), None, "$Default")
    try:
        assert [kind(event) for event in tail.of_device("quiet", 3)] == [CREATED, ("Telemetry", ""), DELETED]
    finally:
        tail.close()
