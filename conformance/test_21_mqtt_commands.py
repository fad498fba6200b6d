"""Cloud-to-device messages byte by byte over MQTT: topics, redelivery, stored sessions, and what outlives a kill."""

import struct
import time

import pytest

import mqtt_wire
import proton_service
import tokens
from command_queue import accepted, await_queued, queued, receiving, send
from mqtt_wire import PUBACK, MqttPeer
from proton_service import Door, command
from service_http import ServiceHttp
from subject import HOST

REPORTED = "$iothub/twin/PATCH/properties/reported/"
RESPONSES = "$iothub/twin/res/#"

# Well below the five seconds that an older connection may take for its farewell.
PROMPTLY_SECS = 3


def test_the_property_bag_has_the_form_that_clients_parse(device, door):
    message = command(
        device.id,
        b"hi",
        ack="Full",
        application={"custom": "a b+c/d&e=f%", "größe": "grün", "empty": ""},
        correlation_id="c 1",
        content_type="application/json",
        content_encoding="utf-8",
        expiry_time=time.time() + 3600,
    )
    message.id = "m1"
    proton_service.send(door, message)
    with receiving(device) as peer:
        received = peer.next_publish()
        peer.acknowledge(received)
        peer.ping()
    prefix = f"devices/{device.id}/messages/devicebound/"
    assert received.topic.startswith(prefix)
    bag = received.topic.removeprefix(prefix)
    assert "/" not in bag and "+" not in bag
    pairs = bag.split("&")
    system = [pair for pair in pairs if pair.startswith("%24.")]
    assert pairs[: len(system)] == system, "system properties come first"
    assert dict(pair.split("=", 1) for pair in system if not pair.startswith("%24.exp")) == {
        "%24.mid": "m1",
        "%24.to": f"%2Fdevices%2F{device.id}%2Fmessages%2Fdevicebound",
        "%24.cid": "c%201",
        "%24.ct": "application%2Fjson",
        "%24.ce": "utf-8",
    }
    expiry = next(pair for pair in system if pair.startswith("%24.exp=")).removeprefix("%24.exp=").replace("%3A", ":")
    assert len(expiry) == len("2030-01-01T00:00:00.0000000Z") and expiry.endswith("Z") and expiry[19] == "."
    assert sorted(pairs[len(system) :]) == sorted(
        ["iothub-ack=full", "custom=a%20b%2Bc%2Fd%26e%3Df%25", "gr%C3%B6%C3%9Fe=gr%C3%BCn", "empty="]
    )


def test_the_address_comes_back_as_the_sender_wrote_it(device, door):
    send(door, device, b"1", to=f"/devices/{device.id}/messages/deviceBound")
    with receiving(device) as peer:
        assert f"%24.to=%2Fdevices%2F{device.id}%2Fmessages%2FdeviceBound" in peer.next_publish().topic


def test_a_restored_session_is_served_right_after_the_connack(device, door):
    with receiving(device, clean=False) as peer:
        peer.disconnect()
    send(door, device, b"0", b"1", b"2")
    with device.connected(clean=False) as peer:
        received = [peer.next_publish() for _ in range(3)]
        assert [(r.payload, r.qos, r.duplicate) for r in received] == [(b"0", 1, False), (b"1", 1, False), (b"2", 1, False)]
        assert len({r.packet_id for r in received}) == 3
        for one in received:
            peer.acknowledge(one)
        peer.ping()
    await_queued(device, 0)


def test_what_was_not_acknowledged_comes_again_and_says_so(device, door):
    send(door, device, b"kept", b"completed", b"never seen")
    with receiving(device, clean=False) as peer:
        first, second = peer.next_publish(), peer.next_publish()
        assert (first.payload, second.payload) == (b"kept", b"completed")
        peer.acknowledge(second)
        peer.next_publish()
        peer.ping()
        peer.drop()
    with device.connected(clean=False) as peer:
        again = [peer.next_publish(), peer.next_publish()]
        assert [(r.payload, r.duplicate) for r in again] == [(b"kept", True), (b"never seen", True)]
        for one in again:
            peer.acknowledge(one)
        peer.ping()
    await_queued(device, 0)


def test_what_was_acknowledged_never_comes_again(device, door):
    send(door, device, *(b"%d" % n for n in range(20)))
    with receiving(device, clean=False) as peer:
        for number in range(10):
            received = peer.next_publish()
            assert received.payload == b"%d" % number
            peer.acknowledge(received)
        peer.ping_past_publishes()
        peer.drop()
    with device.connected(clean=False) as peer:
        again = [peer.next_publish(PROMPTLY_SECS).payload for _ in range(10)]
        assert again == [b"%d" % n for n in range(10, 20)]


def test_at_quality_of_service_zero_a_message_is_done_when_it_is_sent(device, door):
    send(door, device, b"once")
    with receiving(device, qos=0, clean=False) as peer:
        received = peer.next_publish()
        assert (received.payload, received.qos, received.duplicate) == (b"once", 0, False)
        peer.drop()
    with device.connected(clean=False) as peer:
        send(door, device, b"twice")
        assert peer.next_publish().payload == b"twice"
    await_queued(device, 0)


def test_a_clean_session_gets_nothing_before_it_subscribes(device, door):
    with receiving(device, clean=False) as peer:
        peer.disconnect()
    send(door, device, b"waiting")
    with device.connected(clean=True) as peer:
        peer.nothing_arrives()
        assert queued(device) == 1
        peer.subscribe((device.commands_filter, 1))
        assert peer.next_publish().payload == b"waiting"


def test_nothing_arrives_after_an_unsubscribe_and_nothing_is_lost(device, door):
    with receiving(device) as peer:
        peer.unsubscribe(device.commands_filter, packet_id=2)
        send(door, device, b"later")
        peer.nothing_arrives()
        peer.subscribe((device.commands_filter, 1), packet_id=3)
        assert peer.next_publish().payload == b"later"


def test_subscribing_again_delivers_nothing_twice(device, door):
    send(door, device, b"once")
    with receiving(device) as peer:
        received = peer.next_publish()
        assert peer.subscribe((device.commands_filter, 1), packet_id=2) == [1]
        peer.nothing_arrives()
        peer.acknowledge(received)
        peer.ping()
    await_queued(device, 0)


def test_acknowledging_twice_or_what_was_never_sent_is_harmless(device, door):
    send(door, device, b"1")
    with receiving(device) as peer:
        received = peer.next_publish()
        for _ in range(2):
            peer.acknowledge(received)
        peer.send(mqtt_wire.packet(PUBACK, struct.pack(">H", 4321)))
        peer.ping()
    await_queued(device, 0)


@pytest.mark.parametrize("shape", ["devices/+/messages/devicebound/#", "devices/{id}/messages/devicebound/#"])
def test_both_shapes_of_the_filter_receive(device, door, shape):
    with device.connected() as peer:
        assert peer.subscribe((shape.format(id=device.id), 1)) == [1]
        send(door, device, b"1")
        received = peer.next_publish()
        assert received.payload == b"1"
        assert received.topic.startswith(f"devices/{device.id}/messages/devicebound/")


@pytest.mark.parametrize("shape", ["devices/{d}/modules/{m}/#", "devices/{d}/modules/{m}/messages/devicebound/#"])
def test_a_module_receives_through_both_shapes_of_its_filter(device, module, door, shape):
    with module.connected() as peer:
        assert peer.subscribe((shape.format(d=device.id, m=module.module), 1)) == [1]
        to = f"/devices/{device.id}/modules/{module.module}/messages/devicebound"
        send(door, device, b"1", to=to)
        received = peer.next_publish()
        assert received.payload == b"1"
        assert received.topic.startswith(f"devices/{device.id}/modules/{module.module}/messages/devicebound/%24.")


# Servers of their own: another lock time, and what outlives the process.


class Own:
    """A device on a server on free ports."""

    def __init__(self, hub):
        self.hub, self.id = hub, "keeper"
        self.service = ServiceHttp(hub)
        self.key = self.service.create_device(self.id)["authentication"]["symmetricKey"]["primaryKey"]

    def connected(self) -> MqttPeer:
        peer = MqttPeer(self.hub.port("mqtt"), self.hub.ca_file)
        token = tokens.device_token(HOST, self.id, self.key)
        assert peer.connect(self.id, f"{HOST}/{self.id}/?api-version=2021-04-12", token, clean=False)[0] == 0
        return peer

    def send(self, *bodies: bytes, **properties: object) -> None:
        messages = [command(self.id, body, **properties) for body in bodies]
        assert accepted(proton_service.send(Door.of(self.hub), *messages))

    @property
    def filter(self) -> str:
        return f"devices/{self.id}/messages/devicebound/#"


def test_a_lock_that_runs_out_brings_the_message_again_on_the_same_connection(own_hub):
    own_device = Own(own_hub(["--set", "limits.command_lock_secs=2"]))
    own_device.send(b"1")
    with own_device.connected() as peer:
        peer.subscribe((own_device.filter, 1))
        first = peer.next_publish()
        again = peer.next_publish(timeout_secs=8)
        assert (first.payload, first.duplicate) == (b"1", False)
        assert (again.payload, again.duplicate) == (b"1", True)
        peer.acknowledge(again)
        peer.nothing_arrives(for_secs=3)


def test_what_was_acknowledged_outlives_a_kill(own_hub):
    hub = own_hub()
    own_device = Own(hub)
    own_device.service.json("PATCH", f"/twins/{own_device.id}", {"tags": {"t": 1}, "properties": {"desired": {"d": 1}}})
    own_device.send(*(b"%d" % n for n in range(6)), ack="full")
    with own_device.connected() as peer:
        peer.subscribe((RESPONSES, 0))
        assert peer.ask(f"{REPORTED}?$rid=1", b'{"r":1}').topic.endswith("&$version=2")
        peer.subscribe((own_device.filter, 1), packet_id=2)
        received = [peer.next_publish() for _ in range(6)]
        for one in received[:3]:
            peer.acknowledge(one)
        peer.ping()
        before = own_device.service.json("GET", f"/twins/{own_device.id}")
        hub.kill()
    hub.start()
    after = own_device.service.json("GET", f"/twins/{own_device.id}")
    for section in ("etag", "version", "tags", "properties"):
        assert after[section] == before[section]
    with own_device.connected() as peer:
        again = [peer.next_publish() for _ in range(3)]
        # That they were sent before is not known any more after a kill, so they need not say so.
        assert [one.payload for one in again] == [b"3", b"4", b"5"]
        for one in again:
            peer.acknowledge(one)
        peer.ping()
        assert peer.ask(f"{REPORTED}?$rid=1", b'{"r":2}').topic.endswith("&$version=3")
    told: set[str] = set()
    deadline = time.monotonic() + 20
    while len(told) < 6:
        assert time.monotonic() < deadline, f"feedback on {len(told)} of 6 messages"
        answer = own_device.service.call("GET", "/messages/serviceBound/feedback")
        if answer.status_code == 204:
            time.sleep(0.1)
            continue
        told |= {record["originalMessageId"] for record in answer.json() if record["statusCode"] == "Success"}
        own_device.service.call("DELETE", f"/messages/serviceBound/feedback/{answer.headers['ETag'].strip(chr(34))}")


def test_the_limit_of_a_queue_can_be_set(own_hub):
    own_device = Own(own_hub(["--set", "limits.commands_per_queue_max=3"]))
    verdicts = proton_service.send(Door.of(own_device.hub), *(command(own_device.id, b"x") for _ in range(4)))
    assert [verdict.condition for verdict in verdicts] == [None, None, None, "amqp:resource-limit-exceeded"]
