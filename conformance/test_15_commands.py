"""Cloud-to-device messages: sent over AMQP by both official clients and by a plain peer, received over MQTT."""

import time
from datetime import UTC, datetime

import pytest

import proton_service
from command_queue import accepted, await_queued, complete_one, queued
from device_client import DeviceClient
from node_peer import NodePeer, NodeRefusal
from proton_service import Verdict, command

QUEUE_MAX = 50
COMMAND_BYTES_MAX = 65_536

ARGUMENT_ERROR = "com.microsoft:argument-error"

ACCEPTED = Verdict(True)


# From `azure-iot-hub` to `azure-iot-device`.


@pytest.mark.parametrize("identity", ["device"], indirect=True)
def test_every_property_of_a_message_reaches_the_device(client, identity, commands):
    client.listen_for_messages()
    expiry = int(time.time() + 3_600) * 1_000
    custom = {"plain": "value", "a&b=c": "1&2=3", "per%cent": "100%25 sure", "path": "/a//b/", "plus+and space": "1 + 1"}
    commands.send(
        identity.id,
        '{"body":"grün 温度"}',
        messageId="id-:.+%_#*?!(),=@;$'1",
        correlationId="corr:1",
        contentType="application/json",
        contentEncoding="utf-8",
        expiryTimeUtc=expiry,
        **custom,
    )
    message = client.next_message()
    assert message.data.decode() == '{"body":"grün 温度"}'
    assert (message.message_id, message.correlation_id) == ("id-:.+%_#*?!(),=@;$'1", "corr:1")
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")
    assert message.custom_properties == custom
    expected = datetime.fromtimestamp(expiry / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
    assert message.expiry_time_utc == expected


@pytest.mark.parametrize("identity", ["device"], indirect=True)
def test_unicode_properties_reach_the_device(client, identity, commands):
    client.listen_for_messages()
    custom = {"größe": "grün", "温度": "摂氏 23°", "emoji": "\U0001f327 rain"}
    commands.send(identity.id, "x", **custom)
    assert client.next_message().custom_properties == custom


@pytest.mark.parametrize("identity", ["device"], indirect=True)
def test_messages_arrive_once_and_in_order(client, identity, commands):
    client.listen_for_messages()
    for number in range(QUEUE_MAX):
        commands.send(identity.id, str(number))
    assert [client.next_message().data for _ in range(QUEUE_MAX)] == [b"%d" % n for n in range(QUEUE_MAX)]
    await_queued(identity, 0)
    assert client.messages.empty()


def test_what_was_queued_before_the_first_subscription_arrives(hub, device, commands):
    for number in range(3):
        commands.send(device.id, str(number))
    assert queued(device) == device.back_end().twin().cloud_to_device_message_count == 3
    with DeviceClient(device.connection_string, hub.ca_file) as client:
        client.listen_for_messages()
        assert [client.next_message().data for _ in range(3)] == [b"0", b"1", b"2"]
        await_queued(device, 0)


def test_a_message_to_an_unknown_device_fails_at_the_sender(device, commands):
    with pytest.raises(Exception, match="C2D message send failure"):
        commands.send(f"{device.id}-ghost", "nobody there")
    # The client and its link can be used on.
    commands.send(device.id, "somebody there")
    assert queued(device) == 1


def test_a_message_to_a_full_queue_fails_at_the_sender(device, commands):
    for number in range(QUEUE_MAX):
        commands.send(device.id, str(number))
    with pytest.raises(Exception, match="C2D message send failure"):
        commands.send(device.id, "one too many")
    assert queued(device) == QUEUE_MAX
    assert complete_one(device).payload == b"0"
    commands.send(device.id, "in the place that became free")


# What the hub says of a message, as a peer that knows only AMQP sees it.


def test_a_message_is_accepted(device, door):
    assert proton_service.send(door, command(device.id, b"1")) == [ACCEPTED]
    assert queued(device) == 1


def test_an_unknown_device_or_module_is_not_found(device, door):
    module = f"/devices/{device.id}/modules/ghost/messages/devicebound"
    verdicts = proton_service.send(door, command(f"{device.id}-ghost", b"1"), command(device.id, b"1", to=module))
    assert [verdict.condition for verdict in verdicts] == ["amqp:not-found"] * 2


def test_a_full_queue_is_a_limit_exceeded(device, door):
    verdicts = proton_service.send(door, *(command(device.id, b"%d" % n) for n in range(QUEUE_MAX + 1)))
    assert accepted(verdicts[:QUEUE_MAX])
    assert verdicts[QUEUE_MAX].condition == "amqp:resource-limit-exceeded"
    assert queued(device) == QUEUE_MAX


def test_a_message_of_full_size_is_accepted_and_a_larger_one_is_not(device, door):
    largest = command(device.id, b"x" * (COMMAND_BYTES_MAX - 1_000))
    verdicts = proton_service.send(door, largest, command(device.id, b"x" * (COMMAND_BYTES_MAX + 1)), command(device.id, b"small"))
    assert [verdict.condition for verdict in verdicts] == [None, "amqp:link:message-size-exceeded", None]
    assert complete_one(device).payload == b"x" * (COMMAND_BYTES_MAX - 1_000)


@pytest.mark.parametrize("ack", ["always", "", "full "])
def test_an_unknown_kind_of_acknowledgement_is_refused(device, door, ack):
    [verdict] = proton_service.send(door, command(device.id, b"1", ack=ack))
    assert verdict.condition == ARGUMENT_ERROR
    assert queued(device) == 0


@pytest.mark.parametrize("to", ["", "/", "/devices//messages/devicebound", "/messages/devicebound", "devices", "/devices/a/b/c/d/e/f"])
def test_an_address_that_names_no_device_is_refused(device, door, to):
    [verdict] = proton_service.send(door, command(device.id, b"1", to=to))
    assert verdict.condition in (ARGUMENT_ERROR, "amqp:not-found")


def test_an_expiry_too_far_away_is_refused(device, door):
    [verdict] = proton_service.send(door, command(device.id, b"1", expiry_time=time.time() + 3 * 86_400))
    assert verdict.condition == "com.microsoft:argument-out-of-range"
    assert queued(device) == 0


def test_words_of_the_address_are_taken_in_any_case(device, module, door):
    addresses = [f"/devices/{device.id}/messages/deviceBound", f"/DEVICES/{device.id}/Messages/DEVICEBOUND"]
    assert accepted(proton_service.send(door, *(command(device.id, b"1", to=to) for to in addresses)))
    assert queued(device) == 2


def test_a_message_for_a_module_goes_to_the_module(device, module, door):
    to = f"/devices/{device.id}/modules/{module.module}/messages/deviceBound"
    assert accepted(proton_service.send(door, command(device.id, b"for the module", to=to)))
    assert queued(device) == 0
    received = complete_one(module)
    assert received.payload == b"for the module"
    assert received.topic.startswith(f"devices/{device.id}/modules/{module.module}/messages/devicebound/%24.")


def test_a_message_for_a_disabled_device_waits(device, registry, door):
    registry.update_device_with_sas(device.id, "*", device.key, device.key, "disabled")
    assert accepted(proton_service.send(door, command(device.id, b"later")))
    registry.update_device_with_sas(device.id, "*", device.key, device.key, "enabled")
    assert complete_one(device).payload == b"later"


def test_the_queue_of_a_deleted_device_is_gone(device, registry, door):
    proton_service.send(door, command(device.id, b"old"))
    registry.delete_device(device.id)
    registry.create_device_with_sas(device.id, device.key, device.key, "enabled")
    assert queued(device) == 0
    proton_service.send(door, command(device.id, b"new"))
    assert complete_one(device).payload == b"new"


# `azure-iothub` from npm.


@pytest.mark.parametrize("ack", ["full", "positive", "negative", "none", None])
def test_node_sends_with_every_kind_of_acknowledgement(device, node_service, ack):
    options = {} if ack is None else {"ack": ack}
    sent = node_service.call("send", device=device.id, body="from node", messageId=f"m-{device.id}", properties={"k": "v"}, **options)
    assert sent == "MessageEnqueued"
    received = complete_one(device)
    assert received.payload == b"from node"
    bag = received.topic.split("/messages/devicebound/")[1].split("&")
    assert bag[0].startswith("%24.")
    assert [pair for pair in bag if pair.startswith("iothub-ack")] == ([f"iothub-ack={ack}"] if ack else [])
    assert "k=v" in bag


def node_refusal(node_service: NodePeer, device: str, **message: object) -> str:
    with pytest.raises(NodeRefusal) as caught:
        node_service.call("send", device=device, body="x", **message)
    return caught.value.name


def test_node_names_each_refusal(device, node_service):
    assert node_refusal(node_service, f"{device.id}-ghost") == "DeviceNotFoundError"
    assert node_refusal(node_service, device.id, bodyBytes=COMMAND_BYTES_MAX + 1) == "MessageTooLargeError"
    assert node_refusal(node_service, device.id, ack="always") == "ArgumentError"
    for _ in range(QUEUE_MAX):
        node_service.call("send", device=device.id, body="x")
    assert node_refusal(node_service, device.id) == "DeviceMaximumQueueDepthExceededError"
    assert queued(device) == QUEUE_MAX
