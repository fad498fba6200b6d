"""fe2o3-amqp, an AMQP 1.0 client in Rust that knows nothing of Azure, as a device, as a back end and as a reader."""

from collections import Counter

import pytest

import tokens
from command_queue import await_queued
from event_readers import read_everything
from fe2o3_peer import Fe2o3Peer, Refused, message
from identities import Device
from subject import HOST
from telemetry import Observed

pytestmark = pytest.mark.usefixtures("workload")

ACCEPTED = {"state": "accepted"}
SMALL_FRAME = 512
COMMANDS = "/messages/devicebound"


def anonymous(hub, **options: object) -> Fe2o3Peer:
    return Fe2o3Peer(hub.port("amqp"), hub.ca_file, hub.host_name, **options)


def as_device(hub, device: Device, **options: object) -> Fe2o3Peer:
    return anonymous(hub, user=f"{device.id}@sas.{hub.label}", password=device.token(), **options)


def as_service(hub, **options: object) -> Fe2o3Peer:
    token = tokens.signature_token(hub.host_name, hub.policy.key, policy=hub.policy.name)
    return anonymous(hub, user=f"{hub.policy.name}@sas.root.{hub.label}", password=token, **options)


def audience(device: Device) -> str:
    return f"{HOST}/devices/{device.id}"


def address(device: Device, node: str) -> str:
    return f"/devices/{device.id}/messages/{node}"


def put(peer: Fe2o3Peer, device: Device) -> None:
    assert peer.put_token(audience(device), device.token()) == {"status": 200, "correlation": "put-1"}


# A device.


@pytest.mark.parametrize("cbs", [False, True], ids=["sasl-plain", "cbs"])
def test_telemetry_arrives_whole_and_in_order(hub, device, tail, cbs):
    with anonymous(hub) if cbs else as_device(hub, device) as peer:
        if cbs:
            put(peer, device)
        peer.attach_sender("up", address(device, "events"))
        fields = {"messageId": "m1", "contentType": "application/json", "properties": {"a&b": "1/2", "größe": "grün"}}
        assert peer.send("up", b'{"t":20.5}', **fields) == ACCEPTED
        for number in range(20):
            assert peer.send("up", str(number).encode()) == ACCEPTED
    first, *rest = tail.of_device(device.id, 21)
    assert (first.body, first.message_id, first.content_type) == (b'{"t":20.5}', "m1", "application/json")
    assert first.properties == fields["properties"]
    assert [event.body for event in rest] == [str(number).encode() for number in range(20)]


def test_a_batch_is_stored_message_by_message_or_not_at_all(hub, device, tail):
    with as_device(hub, device) as peer:
        peer.attach_sender("up", address(device, "events"))
        assert peer.send_batch("up", [message(b"a", properties={"n": "1"}), message(b"b", messageId="second")]) == ACCEPTED
        too_large = peer.send_batch("up", [message(b"c"), message(b"x" * 262_145)])
        assert too_large == {"state": "rejected", "condition": "amqp:link:message-size-exceeded"}
        assert peer.send_batch("up", [message(b"d")]) == ACCEPTED
    events = tail.of_device(device.id, 3)
    assert [event.body for event in events] == [b"a", b"b", b"d"]
    assert (events[0].properties, events[1].message_id) == ({"n": "1"}, "second")


def test_frames_of_512_bytes_carry_large_messages(hub, device, tail):
    body = bytes(range(256)) * 400
    with as_device(hub, device, maxFrameSize=SMALL_FRAME) as peer:
        peer.attach_sender("up", address(device, "events"))
        assert peer.send("up", body) == ACCEPTED
    assert tail.of_device(device.id, 1)[0].body == body


# Commands.


def test_a_back_end_sends_and_a_device_accepts(hub, device):
    with as_service(hub) as service, as_device(hub, device) as peer:
        peer.attach_receiver("down", address(device, "devicebound"))
        peer.credit("down", 10)
        service.attach_sender("commands", COMMANDS)
        fields = {"messageId": "c1", "properties": {"unit": "°C"}}
        assert service.send("commands", b"warmer", to=address(device, "devicebound"), **fields) == ACCEPTED
        received = peer.receive("down")
        assert (received.body, received.message_id, received.properties["unit"]) == (b"warmer", "c1", "°C")
        assert received.to == address(device, "devicebound")
        await_queued(device, 0)


def test_a_released_command_comes_again_and_a_rejected_one_does_not(hub, device):
    with as_service(hub) as service, as_device(hub, device) as peer:
        service.attach_sender("commands", COMMANDS)
        assert service.send("commands", b"again", to=address(device, "devicebound")) == ACCEPTED
        peer.attach_receiver("down", address(device, "devicebound"))
        peer.credit("down", 10)
        first, second = peer.receive("down", settle="release"), peer.receive("down", settle="reject")
        assert first.body == second.body == b"again"
        counts = [received.annotations["iothub-deliverycount"] for received in (first, second)]
        assert counts[1] == counts[0] + 1
        await_queued(device, 0)
        assert peer.is_quiet("down")


def test_a_back_end_is_told_that_a_device_does_not_exist(hub, device):
    with as_service(hub) as service:
        service.attach_sender("commands", COMMANDS)
        refused = service.send("commands", b"x", to=f"/devices/{device.id}-ghost/messages/devicebound")
        assert refused == {"state": "rejected", "condition": "amqp:not-found"}
        assert service.send("commands", b"x", to=address(device, "devicebound")) == ACCEPTED


# A reader.


@pytest.fixture(scope="module")
def partition(hub, workload) -> list[Observed]:
    """The fullest partition as the Event Hubs client saw it."""
    everything = read_everything(hub.reader_connection_string(), hub.ca_file)
    fullest, _ = Counter(event.partition for event in everything).most_common(1)[0]
    return [event for event in everything if event.partition == fullest]


def source(hub, partition: list[Observed]) -> str:
    return f"{hub.entity}/ConsumerGroups/$Default/Partitions/{partition[0].partition}"


def after_offset(event: Observed) -> str:
    return f"amqp.annotation.x-opt-offset > '{event.offset}'"


@pytest.mark.parametrize("by_number", [False, True], ids=["filter-by-name", "filter-by-number"])
def test_reading_starts_after_an_offset(hub, partition, by_number):
    with as_service(hub) as reader:
        reader.attach_receiver("events", source(hub, partition), after_offset(partition[9]), by_number)
        reader.credit("events", 5)
        read = [reader.receive("events") for _ in range(5)]
        assert [event.body for event in read] == [event.body for event in partition[10:15]]
        stamps = [(event.annotations["x-opt-sequence-number"], event.annotations["x-opt-offset"]) for event in read]
        assert stamps == [(event.sequence, event.offset) for event in partition[10:15]]


def test_a_token_that_is_put_opens_a_partition(hub, partition):
    name = f"sb://{hub.host_name}/{hub.entity}"
    with anonymous(hub) as reader:
        token = tokens.signature_token(name, hub.policy.key, policy=hub.policy.name)
        assert reader.put_token(name, token)["status"] == 200
        reader.attach_receiver("events", source(hub, partition))
        reader.credit("events", 1)
        assert reader.receive("events").body == partition[0].body


def test_one_credit_is_one_message(hub, partition):
    with as_service(hub) as reader:
        reader.attach_receiver("events", source(hub, partition))
        for event in partition[:10]:
            reader.credit("events", 1)
            assert reader.receive("events").body == event.body
        assert reader.is_quiet("events")


def test_small_frames_carry_events_longer_than_they_are(hub, partition):
    assert any(len(event.body) > SMALL_FRAME for event in partition[:20])
    with as_service(hub, maxFrameSize=SMALL_FRAME) as reader:
        reader.attach_receiver("events", source(hub, partition))
        reader.credit("events", 20)
        assert [reader.receive("events").body for _ in range(20)] == [event.body for event in partition[:20]]


def test_drained_credit_is_gone(hub, register):
    """The client shows no end of draining, so an event that comes later shows it: it waits for new credit."""
    sender = register("drained")
    with as_device(hub, sender) as peer:
        peer.attach_sender("up", address(sender, "events"))
        assert [peer.send("up", b"before the drain") for _ in range(4)] == [ACCEPTED] * 4
    everything = read_everything(hub.reader_connection_string(), hub.ca_file)
    own = next(event.partition for event in everything if event.device == sender.id)
    last = [event for event in everything if event.partition == own]
    with as_service(hub) as reader:
        reader.attach_receiver("events", source(hub, last), after_offset(last[-4]))
        reader.credit("events", 1000)
        reader.drain("events")
        assert [reader.receive("events").body for _ in range(3)] == [event.body for event in last[-3:]]
        assert reader.is_quiet("events")
        with as_device(hub, sender) as peer:
            peer.attach_sender("up", address(sender, "events"))
            assert peer.send("up", b"after the drain") == ACCEPTED
        assert reader.is_quiet("events")
        reader.credit("events", 10)
        assert reader.receive("events").body == b"after the drain"


# Refusals.


def test_a_forged_password_fails_in_sasl(hub, device):
    known = hub.known_records()
    with pytest.raises(Refused) as caught:
        anonymous(hub, user=f"{device.id}@sas.{hub.label}", password=forged(device))
    assert (caught.value.where, caught.value.condition) == ("sasl", "auth")
    hub.await_record("refused", "signature|key", device.id, known=known)


def test_a_forged_token_is_answered_with_401_and_opens_nothing(hub, device):
    known = hub.known_records()
    with anonymous(hub) as peer:
        assert peer.put_token(audience(device), forged(device)) == {"status": 401, "correlation": "put-1"}
        hub.await_record("refused", "signature|key", known=known)
        with pytest.raises(Refused) as caught:
            peer.attach_sender("up", address(device, "events"))
        assert (caught.value.where, caught.value.condition) == ("link", "amqp:unauthorized-access")


def test_a_device_does_not_read(hub, device, partition):
    refused_beside_its_own(hub, device, lambda peer: peer.attach_receiver("events", source(hub, partition)))


def test_a_device_does_not_send_for_another(hub, device, register):
    other = register("fe2o3-other")
    refused_beside_its_own(hub, device, lambda peer: peer.attach_sender("up", address(other, "events")))


def refused_beside_its_own(hub, device, attach) -> None:
    """The link is refused, and the device's own one goes on. It is there before: this library may lose a link that is attached right
    after a refused one."""
    with as_device(hub, device) as peer:
        peer.attach_sender("own", address(device, "events"))
        with pytest.raises(Refused) as caught:
            attach(peer)
        assert (caught.value.where, caught.value.condition) == ("link", "amqp:unauthorized-access")
        assert peer.send("own", b"still here") == ACCEPTED


def test_a_selector_that_is_none_of_the_known_ones_is_refused(hub, partition):
    with as_service(hub) as reader, pytest.raises(Refused) as caught:
        reader.attach_receiver("events", source(hub, partition), "colour = 'red'")
    assert (caught.value.where, caught.value.condition) == ("link", "com.microsoft:argument-error")


def forged(device: Device) -> str:
    return tokens.device_token(HOST, device.id, tokens.new_key())
