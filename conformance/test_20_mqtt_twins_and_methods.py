"""Twins and methods byte by byte over MQTT: what the official clients rely on and none of them shows."""

import json
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest

import mqtt_wire
from back_end import own, refusal
from identities import Device
from mqtt_wire import PUBACK, Publish
from service_http import ServiceHttp

GET = "$iothub/twin/GET/"
REPORTED = "$iothub/twin/PATCH/properties/reported/"
RESPONSES = "$iothub/twin/res/#"
DESIRED = "$iothub/twin/PATCH/properties/desired/#"
METHODS = "$iothub/methods/POST/#"
PIPELINED = 100
UUID = "9c0b1b1e-8c0f-4d9f-9c57-2f0a3a3b9d11"

EMPTY_TWIN = {"desired": {"$version": 1}, "reported": {"$version": 1}}


def error_of(received: Publish, status: int) -> dict:
    """Status, rid and the form that all refusals of twin requests have."""
    assert received.topic.startswith(f"$iothub/twin/res/{status}/?$rid="), received.topic
    error = received.json
    assert error["errorCode"] // 1000 == status
    assert error["message"] and error["trackingId"] and error["timestampUtc"].endswith("Z")
    return error


@pytest.fixture
def peer(identity: Device):
    with identity.connected() as connected:
        assert connected.subscribe((RESPONSES, 1)) == [1]
        yield connected


# Twins.


@pytest.mark.parametrize("rid", ["1", "65535", UUID, "a%20b%2Fc", "x" * 100])
def test_a_request_id_comes_back_as_it_was_sent(peer, rid):
    answer = peer.ask(f"{GET}?$rid={rid}")
    assert (answer.topic, answer.qos, answer.retained, answer.duplicate) == (f"$iothub/twin/res/200/?$rid={rid}", 0, False, False)
    assert answer.json == EMPTY_TWIN


@pytest.mark.parametrize("payload", [b" ", b"{}", b"anything"])
def test_the_payload_of_a_get_is_ignored(peer, payload):
    assert peer.ask(f"{GET}?$rid=1", payload).json == EMPTY_TWIN


def test_a_request_at_quality_of_service_one_is_acknowledged_as_well(peer):
    peer.send(mqtt_wire.publish_packet(f"{GET}?$rid=1", b"", qos=1, packet_id=77))
    packets = [peer.read(), peer.read()]
    assert {packet.kind for packet in packets} == {PUBACK, mqtt_wire.PUBLISH}
    assert next(p for p in packets if p.kind == PUBACK).body == struct.pack(">H", 77)


def test_a_resent_request_is_answered_again(peer):
    """The Python client sends a request whose PUBACK it missed again under the same request id."""
    request = bytearray(mqtt_wire.publish_packet(f"{GET}?$rid={UUID}", b" ", qos=1, packet_id=3))
    request[0] |= 0x08
    for _ in range(2):
        peer.send(bytes(request))
        assert {peer.read().kind, peer.read().kind} == {PUBACK, mqtt_wire.PUBLISH}


def test_a_report_is_answered_with_the_new_version_and_nothing_else(peer):
    for number in range(2, 5):
        answer = peer.ask(f"{REPORTED}?$rid=7", b'{"a":%d}' % number)
        assert (answer.topic, answer.payload, answer.qos) == (f"$iothub/twin/res/204/?$rid=7&$version={number}", b"", 0)


def test_reports_sent_without_waiting_are_applied_in_order(peer, back_end):
    requests = (mqtt_wire.publish_packet(f"{REPORTED}?$rid={n}", b'{"n":%d}' % n, qos=0) for n in range(PIPELINED))
    peer.send(b"".join(requests))
    expected = [f"$iothub/twin/res/204/?$rid={n}&$version={n + 2}" for n in range(PIPELINED)]
    assert [peer.next_publish().topic for _ in range(PIPELINED)] == expected
    assert own(back_end.twin().properties.reported) == {"n": PIPELINED - 1}


def test_a_report_may_name_the_version_that_it_builds_on(peer, back_end):
    assert peer.ask(f"{REPORTED}?$rid=1&$version=1", b'{"a":1}').topic == "$iothub/twin/res/204/?$rid=1&$version=2"
    error_of(peer.ask(f"{REPORTED}?$rid=2&$version=1", b'{"a":2}'), 412)
    assert own(back_end.twin().properties.reported) == {"a": 1}
    assert peer.ask(f"{REPORTED}?$rid=3&$version=2", b'{"a":3}').topic == "$iothub/twin/res/204/?$rid=3&$version=3"


BROKEN_REPORTS = {
    "no JSON": b"{",
    "nothing": b"",
    "a list": b"[]",
    "a number": b"5",
    "broken text": b'{"a":"\xff"}',
    "a version": b'{"$version":5}',
    "metadata": b'{"$metadata":{}}',
    "a key with a space": b'{"a b":1}',
    "a null in a list": b'{"a":[null]}',
    "text over 4,096 bytes": b'{"a":"' + b"x" * 4097 + b'"}',
}


@pytest.mark.parametrize("payload", BROKEN_REPORTS.values(), ids=BROKEN_REPORTS.keys())
def test_a_broken_report_is_answered_with_an_error(peer, payload):
    error_of(peer.ask(f"{REPORTED}?$rid=1", payload), 400)
    # The connection lives on and nothing has changed.
    assert peer.ask(f"{GET}?$rid=2").json == EMPTY_TWIN


def test_a_report_beyond_the_size_of_the_section_names_its_limit(peer):
    section = json.dumps({f"k{n}": "x" * 4000 for n in range(9)}).encode()
    error = error_of(peer.ask(f"{REPORTED}?$rid=1", section), 403)
    assert error["errorCode"] == 403100
    assert error["message"] == "'Properties.Reported' size should be less than 32768 bytes."


def test_a_request_without_a_subscription_is_carried_out_unanswered(identity, back_end):
    with identity.connected() as peer:
        peer.send(mqtt_wire.publish_packet(f"{REPORTED}?$rid=1", b'{"a":1}', qos=1, packet_id=5))
        assert peer.read(PUBACK).body == struct.pack(">H", 5)
        peer.ping()
    assert own(back_end.twin().properties.reported) == {"a": 1}


@pytest.mark.parametrize("topic", [GET, f"{GET}?", f"{GET}?rid=1", REPORTED])
def test_a_request_without_an_id_closes_the_connection(peer, topic):
    peer.send(mqtt_wire.publish_packet(topic, b"{}", qos=0))
    assert peer.closed_within(5)


def test_a_desired_change_is_told_with_its_version_in_topic_and_body(peer, back_end):
    peer.subscribe((DESIRED, 1), packet_id=2)
    back_end.patch(desired={"x": 5, "route": None})
    told = peer.next_publish()
    assert (told.topic, told.qos) == ("$iothub/twin/PATCH/properties/desired/?$version=2", 0)
    assert told.json == {"x": 5, "route": None, "$version": 2}


def test_no_change_is_lost_between_subscribing_and_reading(peer, back_end):
    peer.subscribe((DESIRED, 0), packet_id=2)
    back_end.patch(desired={"n": 1})
    answer = peer.ask(f"{GET}?$rid=1")
    if answer.topic.startswith("$iothub/twin/PATCH/"):
        answer = peer.next_publish()
    assert answer.json["desired"] == {"n": 1, "$version": 2}


def test_changes_for_one_who_is_away_or_has_unsubscribed_are_not_kept(identity, back_end):
    with identity.connected(clean=False) as peer:
        peer.subscribe((DESIRED, 0))
        peer.disconnect()
    back_end.patch(desired={"missed": 1})
    with identity.connected(clean=False) as peer:
        peer.ping()
        back_end.patch(desired={"seen": 1})
        assert peer.next_publish().json == {"seen": 1, "$version": 3}
        peer.unsubscribe(DESIRED, packet_id=2)
        back_end.patch(desired={"missed": 2})
        peer.nothing_arrives()


# Methods.


def test_a_call_has_the_form_that_clients_parse(hub, identity):
    with identity.connected() as peer, ThreadPoolExecutor(1) as pool:
        peer.subscribe((METHODS, 1))
        path = f"/twins/{identity.id}" + (f"/modules/{identity.module}" if identity.module else "")
        call = pool.submit(ServiceHttp(hub).json, "POST", f"{path}/methods", {"methodName": "reboot"})
        request = peer.next_publish()
        head, rid = request.topic.split("?$rid=")
        assert head == "$iothub/methods/POST/reboot/"
        assert rid and not set(rid) & set("&/?%")
        assert (request.payload, request.qos, request.retained) == (b"null", 0, False)
        peer.publish(f"$iothub/methods/res/200/?$rid={rid}", b'{"a":1}', packet_id=9)
        assert call.result(timeout=10) == {"status": 200, "payload": {"a": 1}}


def test_payloads_pass_with_their_spelling(hub, device):
    with device.connected() as peer, ThreadPoolExecutor(1) as pool:
        peer.subscribe((METHODS, 0))
        body = b'{"methodName":"m","payload":{"real":1.0,"big":12345678901234567890}}'
        call = pool.submit(ServiceHttp(hub).call, "POST", f"/twins/{device.id}/methods", data=body)
        request = peer.next_publish()
        assert request.payload.replace(b" ", b"") == b'{"real":1.0,"big":12345678901234567890}'
        peer.send(mqtt_wire.publish_packet(f"$iothub/methods/res/200/?$rid={request.topic.split('$rid=')[1]}", b'{"r":2.50}', qos=0))
        assert b'"payload":{"r":2.50}' in call.result(timeout=10).content.replace(b" ", b"")


def test_a_filter_for_one_method_gets_that_method(device):
    with device.connected() as peer, ThreadPoolExecutor(1) as pool:
        assert peer.subscribe(("$iothub/methods/POST/reboot/#", 0)) == [0]
        call = pool.submit(device.back_end().invoke, "reboot")
        request = peer.next_publish()
        assert request.topic.startswith("$iothub/methods/POST/reboot/?$rid=")
        peer.send(mqtt_wire.publish_packet(f"$iothub/methods/res/200/?$rid={request.topic.split('$rid=')[1]}", b"1", qos=0))
        assert call.result(timeout=10) == (200, 1)


def test_late_double_and_unasked_answers_are_ignored(device):
    with device.connected() as peer, ThreadPoolExecutor(1) as pool:
        peer.subscribe((METHODS, 0))
        call = pool.submit(refusal, device.back_end().invoke, "slow", response_secs=5)
        topic = f"$iothub/methods/res/200/?$rid={peer.next_publish().topic.split('$rid=')[1]}"
        assert call.result(timeout=15) == (504, "GatewayTimeout")
        for packet_id, late in enumerate((topic, topic, "$iothub/methods/res/200/?$rid=never-asked"), 1):
            peer.publish(late, b"{}", packet_id=packet_id)
        peer.ping()


@pytest.mark.parametrize("topic", ["$iothub/methods/res/ok/?$rid=1", "$iothub/methods/res/200/", "$iothub/methods/res//?$rid=1"])
def test_an_answer_that_cannot_be_read_closes_the_connection(device, topic):
    with device.connected() as peer:
        peer.subscribe((METHODS, 0))
        peer.send(mqtt_wire.publish_packet(topic, b"{}", qos=0))
        assert peer.closed_within(5)
