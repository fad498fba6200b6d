"""MQTT 3.1.1 as the hub speaks it: sessions, subscriptions, acknowledgements, wills, retain."""

import struct
import time

import mqtt_wire
from mqtt_wire import PUBACK, Will

PIPELINED = 500
REFUSED = 0x80


def test_session_is_present_only_after_a_session_was_kept(device):
    with device.peer() as peer:
        assert peer.connect(device.id, device.user_name, device.token(), clean=False) == (0, False)
        peer.subscribe((f"devices/{device.id}/messages/devicebound/#", 1))
        peer.disconnect()
    with device.peer() as peer:
        assert peer.connect(device.id, device.user_name, device.token(), clean=False) == (0, True)
        peer.disconnect()
    with device.peer() as peer:
        assert peer.connect(device.id, device.user_name, device.token(), clean=True) == (0, False)
        peer.disconnect()
    with device.peer() as peer:
        assert peer.connect(device.id, device.user_name, device.token(), clean=False) == (0, False)


def test_user_name_shapes_of_older_clients_are_accepted(device):
    host = device.user_name.split("/")[0]
    for rest in (
        "?api-version=2020-09-30&DeviceClientType=iothubclient%2f1.15.0%20(native%3b%20Linux%3b%20x86_64)",
        "api-version=2016-11-14",
        "DeviceClientType=azure-iot-device%2F1.1.21&api-version=2016-11-14",
    ):
        with device.peer() as peer:
            assert peer.connect(device.id, f"{host}/{device.id}/{rest}", device.token())[0] == 0, rest
    with device.peer() as peer:
        assert peer.connect(device.id, f"{host}/{device.id}", device.token())[0] == 0
    with device.peer() as peer:
        assert peer.connect(device.id, device.user_name.replace(host, host.upper()), device.token())[0] == 0


def test_filters_of_the_clients_are_granted(device):
    with device.connected() as peer:
        assert peer.subscribe((f"devices/{device.id}/messages/devicebound/#", 1)) == [1]
        codes = peer.subscribe(
            ("$iothub/methods/POST/#", 0),
            ("$iothub/twin/res/#", 1),
            ("$iothub/twin/PATCH/properties/desired/#", 2),
            packet_id=2,
        )
        # Quality of service 2 is not offered: a request for it gets 1.
        assert codes == [0, 1, 1]
        peer.unsubscribe("$iothub/methods/POST/#", packet_id=3)
        peer.unsubscribe("never/subscribed", packet_id=4)
        peer.ping()


def test_plus_stands_for_the_own_id(device):
    with device.connected() as peer:
        assert peer.subscribe(("devices/+/messages/devicebound/#", 1)) == [1]


def test_unknown_filter_of_the_hub_is_refused_without_a_close(device):
    with device.connected() as peer:
        assert peer.subscribe(("$iothub/nothing/#", 1), ("$iothub/twin/res/#", 0)) == [REFUSED, 0]
        peer.ping()


def test_sixth_subscription_is_refused(device):
    filters = [
        f"devices/{device.id}/messages/devicebound/#",
        "$iothub/methods/POST/#",
        "$iothub/twin/res/#",
        "$iothub/twin/PATCH/properties/desired/#",
        "$iothub/methods/POST/reboot/#",
        "$iothub/methods/POST/blink/#",
    ]
    with device.connected() as peer:
        codes = [peer.subscribe((name, 0), packet_id=number)[0] for number, name in enumerate(filters, 1)]
    assert codes == [0, 0, 0, 0, 0, REFUSED]


def test_the_sixth_filter_of_one_subscribe_is_refused(device):
    filters = [
        device.commands_filter,
        "$iothub/methods/POST/#",
        "$iothub/twin/res/#",
        "$iothub/twin/PATCH/properties/desired/#",
        "$iothub/methods/POST/reboot/#",
        "$iothub/methods/POST/blink/#",
    ]
    with device.connected() as peer:
        assert peer.subscribe(*((name, 0) for name in filters)) == [0, 0, 0, 0, 0, REFUSED]
        # One that is there already is no sixth.
        assert peer.subscribe(("$iothub/methods/POST/#", 1), packet_id=2) == [1]
        peer.unsubscribe("$iothub/twin/PATCH/properties/desired/#", packet_id=3)
        assert peer.subscribe(("$iothub/methods/POST/blink/#", 0), packet_id=4) == [0]


def test_filters_outside_the_own_device_close_the_connection(hub, device, register):
    other = register("other")
    for name in ("#", f"devices/{other.id}/messages/devicebound/#", "devices/+/messages/events/#"):
        with device.connected() as peer:
            body = struct.pack(">H", 1) + mqtt_wire.text_field(name) + b"\x01"
            peer.send(mqtt_wire.packet(mqtt_wire.SUBSCRIBE, body, flags=2))
            assert peer.closed_within(5), name
    hub.await_record("closed", "filter|subscri|topic", device.id)


def test_pipelined_publishes_are_acknowledged_in_order_and_kept(device, tail):
    with device.connected() as peer:
        peer.send(b"".join(mqtt_wire.publish_packet(device.topic(), b"%d" % n, 1, n) for n in range(1, PIPELINED + 1)))
        acknowledged = [struct.unpack(">H", peer.read(PUBACK).body)[0] for _ in range(PIPELINED)]
    assert acknowledged == list(range(1, PIPELINED + 1))
    assert [event.body for event in tail.of_device(device.id, PIPELINED)] == [b"%d" % n for n in range(1, PIPELINED + 1)]


def test_quality_of_service_zero_is_kept_without_an_answer(device, tail):
    with device.connected() as peer:
        for number in range(5):
            peer.send(mqtt_wire.publish_packet(device.topic(), b"%d" % number, qos=0))
        # The next packet is the answer to this ping: there was none for the publishes.
        peer.ping()
    assert [event.body for event in tail.of_device(device.id, 5)] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_resent_publish_is_a_second_message(device, tail):
    with device.connected() as peer:
        peer.publish(device.topic(), b"once", packet_id=9)
        again = bytearray(mqtt_wire.publish_packet(device.topic(), b"once", packet_id=9))
        again[0] |= 0x08
        peer.send(bytes(again))
        peer.read(PUBACK)
    seen = tail.of_device(device.id, 2)
    assert [event.body for event in seen] == [b"once", b"once"]
    assert seen[1].properties == {}


def test_retain_becomes_a_property(device, tail):
    with device.connected() as peer:
        peer.publish(device.topic("k=v"), b"kept?", packet_id=1, retain=True)
        peer.publish(device.topic(), b"plain", packet_id=2)
    retained, plain = tail.of_device(device.id, 2)
    assert retained.properties == {"k": "v", "mqtt-retain": "true"}
    assert plain.properties == {}


def test_property_bag_forms_of_the_other_clients(device, tail):
    bags = {
        # A trailing slash, an encoded and a raw dollar sign, lower-case hexadecimal digits, an empty value, a plus sign (raw, it is a wildcard).
        "%24.mid=m%2F1&a=b/": ("m/1", {"a": "b"}),
        "$.mid=m2&x=%c3%bc": ("m2", {"x": "ü"}),
        "plus=1%2B1": (None, {"plus": "1+1"}),
        "empty=": (None, {"empty": ""}),
    }
    with device.connected() as peer:
        for number, bag in enumerate(bags, 1):
            peer.publish(device.topic(bag), b"x", packet_id=number)
    for event, (message_id, properties) in zip(tail.of_device(device.id, len(bags)), bags.values(), strict=True):
        assert (event.message_id, event.properties) == (message_id, properties)


def test_empty_payload_is_a_message(device, tail):
    with device.connected() as peer:
        peer.publish(device.topic("a=b"), b"")
    assert tail.of_device(device.id, 1)[0].body == b""


def test_will_of_a_lost_connection_becomes_telemetry(device, tail):
    will = Will(device.topic("reason=lost"), b"last words")
    with device.connected(will=will) as peer:
        peer.publish(device.topic(), b"first")
        peer.drop()
    first, last = tail.of_device(device.id, 2)
    assert first.body == b"first"
    assert last.body == b"last words"
    assert last.properties == {"reason": "lost", "iothub-MessageType": "Will"}


def test_will_is_not_sent_after_a_disconnect(device, tail):
    with device.connected(will=Will(device.topic(), b"must not come")) as peer:
        peer.publish(device.topic(), b"first")
        peer.disconnect()
    tail.of_device(device.id, 1)
    tail.nothing_more(device.id, 1)


def test_will_for_another_device_is_refused(hub, device, register, tail):
    other = register("other")
    with device.peer() as peer:
        try:
            code, _ = peer.connect(device.id, device.user_name, device.token(), will=Will(other.topic(), b"forged"))
            assert code != 0
        except mqtt_wire.PeerClosed:
            pass
    tail.nothing_more(other.id, 0)
    hub.await_record("refused", "will", device.id)


def test_idle_connection_with_pings_stays(device):
    with device.connected(keep_alive_secs=2) as peer:
        for _ in range(4):
            time.sleep(1.5)
            peer.ping()
        peer.publish(device.topic(), b"awake")
