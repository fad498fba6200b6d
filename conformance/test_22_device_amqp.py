"""Devices over AMQP: `azure-iot-device` for Node, and qpid-proton for what it does not reach.

The conversation of the Node client over MQTT is held again over AMQP, case by case.
"""

import base64
import time

import pytest

from back_end import own
from command_queue import await_queued
from identities import Device
from node_peer import NodePeer, NodeRefusal
from proton_device import ACCEPTED, DeviceLine, Refused
from service_http import ServiceHttp
from subject import STRICT_EXPIRY_FLAGS
from test_17_node_clients import (  # noqa: F401 (cases of their own here, with the fixture below)
    as_device,
    test_a_broken_report_reaches_the_application_as_an_error,
    test_the_back_end_calls_methods,
    test_the_device_gets_what_was_queued_for_it,
    test_the_device_hears_of_desired_changes,
    test_the_device_reads_its_twin,
    test_the_device_reports,
    test_the_device_serves_methods,
)

# Cases of readers look at the first events of a partition, which are to be the ones that they know.
pytestmark = pytest.mark.usefixtures("workload")


@pytest.fixture
def node_device(hub, identity):
    """The client over AMQP instead of MQTT."""
    with NodePeer("device.js", hub.ca_file) as peer:
        opening = {"connectionString": identity.connection_string, "module": identity.module is not None}
        peer.call("open", transport="amqp", retries=False, **opening)
        yield peer


# Telemetry.


def test_telemetry_arrives_whole_and_in_order(node_device, identity, tail):
    message = {"messageId": "m1", "correlationId": "c1", "contentType": "application/json", "contentEncoding": "utf-8"}
    node_device.call("send", body="größe", properties={"k&=": "v/ä", "n": "2"}, **message)
    for number in range(20):
        node_device.call("send", body=str(number))
    events = tail.of_device(identity.id, 21)
    first = events[0]
    assert (first.body.decode(), first.message_id, first.correlation_id) == ("größe", "m1", "c1")
    assert (first.content_type, first.content_encoding) == ("application/json", "utf-8")
    assert first.properties == {"k&=": "v/ä", "n": "2"}
    assert first.annotations["iothub-connection-device-id"] == identity.id
    assert first.annotations.get("iothub-connection-module-id") == identity.module
    assert [event.body.decode() for event in events[1:]] == [str(number) for number in range(20)]


def test_a_message_of_full_size_and_one_above_it(node_device, identity, tail):
    node_device.call("send", bodyBytes=262_144)
    with pytest.raises(NodeRefusal) as caught:
        node_device.call("send", bodyBytes=262_145)
    assert caught.value.name == "MessageTooLargeError"
    node_device.call("send", body="still here")
    events = tail.of_device(identity.id, 2)
    assert [len(event.body) for event in events] == [262_144, 10]


@as_device
def test_a_uuid_is_its_text(node_device, identity, tail):
    name = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
    node_device.call("send", body="x", messageId=name)
    assert tail.of_device(identity.id, 1)[0].message_id == name


@as_device
def test_the_same_goes_over_a_websocket(hub, identity, tail):
    with NodePeer("device.js", hub.ca_file) as peer:
        peer.call("open", connectionString=identity.connection_string, module=False, transport="amqp-ws", retries=False)
        peer.call("send", body="over 443")
        assert peer.call("getTwin")["reported"] == {"$version": 1}
    assert tail.of_device(identity.id, 1)[0].body == b"over 443"


# Commands.


@as_device
def test_the_device_receives_and_completes_messages(node_device, node_service, identity):
    node_device.call("receiveMessages")
    system = {"messageId": "m1", "correlationId": "c1", "contentType": "text/plain", "contentEncoding": "utf-8"}
    node_service.call("send", device=identity.id, body="grün", ack="full", properties={"a&b=c": "1/2", "größe": "温度"}, **system)
    message = node_device.next_event("message")
    assert (message["body"], message["to"]) == ("grün", f"/devices/{identity.id}/messages/devicebound")
    assert {name: message[name] for name in system} == system
    # What feedback the sender wants is a field of its own over AMQP.
    assert message["properties"] == {"a&b=c": "1/2", "größe": "温度"}
    node_device.next_event("completed")
    await_queued(identity, 0)


@as_device
def test_commands_are_abandoned_rejected_and_completed(node_device, node_service, identity):
    node_service.call("receiveFeedback")
    node_device.call("settleMessages", outcomes=["abandon", "complete", "reject"])
    node_service.call("send", device=identity.id, body="one", messageId=f"{identity.id}-1", ack="full")
    assert node_device.next_event("message")["outcome"] == "abandon"
    assert node_device.next_event("message")["outcome"] == "complete"
    node_service.call("send", device=identity.id, body="two", messageId=f"{identity.id}-2", ack="full")
    assert node_device.next_event("message")["outcome"] == "reject"
    await_queued(identity, 0)
    found = {}
    while len(found) < 2:
        for record in node_service.next_event("feedback")["records"]:
            if record["deviceId"] == identity.id:
                found[record["originalMessageId"]] = record["statusCode"]
    assert found == {f"{identity.id}-1": "Success", f"{identity.id}-2": "Rejected"}


# Who may, and what ends it.


@as_device
def test_a_wrong_key_is_an_error_of_credentials(hub, identity):
    wrong = identity.connection_string.replace(identity.key, base64.b64encode(b"x" * 32).decode())
    with NodePeer("device.js", hub.ca_file) as peer, pytest.raises(NodeRefusal) as caught:
        peer.call("open", connectionString=wrong, module=False, transport="amqp", retries=False)
        peer.call("send", body="x")
    assert caught.value.name == "UnauthorizedError"
    hub.await_record("refused", "signature", identity.id)


@as_device
def test_a_newer_connection_takes_the_place_over_each_protocol(hub, node_device, identity):
    node_device.call("send", body="first")
    with identity.connected():
        node_device.next_event("disconnect")
        hub.await_record("closed", "displaced", identity.id)


@as_device
def test_a_newer_amqp_connection_ends_an_mqtt_one(hub, identity):
    with identity.connected() as peer, NodePeer("device.js", hub.ca_file) as amqp:
        amqp.call("open", connectionString=identity.connection_string, module=False, transport="amqp", retries=False)
        amqp.call("send", body="x")
        assert peer.closed_within(10)


@as_device
def test_a_deleted_device_is_sent_away(hub, node_device, identity, registry):
    node_device.call("send", body="x")
    registry.delete_device(identity.id)
    node_device.next_event("disconnect")
    hub.await_record("closed", "registered", identity.id)


# What the SDK does not reach.


@pytest.fixture
def line(hub):
    with DeviceLine(hub) as line:
        yield line


def test_devices_of_one_connection_do_not_disturb_each_other(hub, line, register, tail):
    first, second = register("mux-a"), register("mux-b")
    for device in (first, second):
        assert line.put_token(device) == 200
    one, other = line.sender(first, "messages/events"), line.sender(second, "messages/events")
    assert line.send(one, b"1") == ACCEPTED
    with first.connected():
        assert line.await_detach(one) == "amqp:link:stolen"
    assert line.send(other, b"2") == ACCEPTED
    with pytest.raises(Refused) as caught:
        line.sender(register("mux-c"), "messages/events")
    assert caught.value.condition == "amqp:unauthorized-access"
    assert line.send(other, b"3") == ACCEPTED
    assert [event.body for event in tail.of_device(second.id, 2)] == [b"2", b"3"]


def test_a_disabled_device_puts_its_token_and_gets_no_link(line, register):
    device = register("disabled-amqp", status="disabled")
    assert line.put_token(device) == 200
    with pytest.raises(Refused) as caught:
        line.sender(device, "messages/events")
    assert caught.value.condition == "amqp:not-found"


def test_a_batch_is_stored_whole_or_not_at_all(hub, node, register, tail):
    device = register("batch-amqp")
    request = {
        "port": hub.port("amqp"),
        "user": f"{device.id}@sas.{hub.label}",
        "password": device.token(),
        "address": f"/devices/{device.id}/messages/events",
        "batches": [["a", "b", "c"], ["d", "x" * 262_145], ["e"]],
    }
    outcomes = node("device_batches.js", request)
    assert outcomes == ["accepted", "amqp:link:message-size-exceeded", "accepted"]
    events = tail.of_device(device.id, 4)
    assert [event.body for event in events] == [b"a", b"b", b"c", b"e"]


@pytest.mark.parametrize("frame_bytes", [512, 4096])
def test_small_frames_carry_large_messages_both_ways(hub, register, tail, frame_bytes):
    device = register("frames-amqp")
    back_end = device.back_end()
    with DeviceLine(hub, max_frame_size=frame_bytes) as line:
        line.put_token(device)
        assert line.send(line.sender(device, "messages/events"), b"y" * 200_000) == ACCEPTED
        assert len(tail.of_device(device.id, 1)[0].body) == 200_000
        desired = {f"text{number}": "z" * 2_000 for number in range(10)}
        back_end.patch(desired=desired)
        answer = line.twin(device, "GET")
        assert answer.status == 200
        assert own(answer.body["desired"]) == desired


def test_a_command_is_free_again_when_its_link_goes(line, register, node_service):
    device = register("released-amqp")
    line.put_token(device)
    node_service.call("send", device=device.id, body="again")
    link = line.receiver(device, "messages/devicebound")
    first = line.receive(link)
    assert first.body == b"again"
    assert first.annotations["iothub-deliverycount"] == 0
    line.close(link)
    link = line.receiver(device, "messages/devicebound")
    second = line.receive(link)
    assert (second.body, second.annotations["x-opt-sequence-number"]) == (b"again", first.annotations["x-opt-sequence-number"])
    assert second.annotations["x-opt-lock-token"] != first.annotations["x-opt-lock-token"]
    line.accept(second)
    line.close(link)
    await_queued(device, 0)


def test_sasl_plain_is_as_good_as_a_token_that_is_put(hub, register, tail):
    device = register("plain-amqp")
    with DeviceLine(hub, user=f"{device.id}@sas.{hub.label}", password=device.token()) as line:
        assert line.send(line.sender(device, "messages/events"), b"plain") == ACCEPTED
    assert tail.of_device(device.id, 1)[0].body == b"plain"


def test_tokens_that_end_take_their_device_along(own_hub):
    hub = own_hub(STRICT_EXPIRY_FLAGS)
    lasting, ending = [of(hub, ServiceHttp(hub).create_device(name)) for name in ("lasting", "ending")]
    with DeviceLine(hub) as line:
        line.put_token(lasting)
        line.put_token(ending, expires_at=int(time.time()) + 4)
        stays, goes = line.sender(lasting, "messages/events"), line.sender(ending, "messages/events")
        assert line.await_detach(goes) == "amqp:unauthorized-access"
        assert line.send(stays, b"x") == ACCEPTED
    hub.await_record("closed", "expired", ending.id)


def of(hub, created: dict) -> Device:
    return Device(hub, created["deviceId"], created["authentication"]["symmetricKey"]["primaryKey"], created["generationId"])
