"""Direct methods from `azure-iot-hub` to `azure-iot-device`: what passes through, and how each failure is told."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import mqtt_wire
from back_end import BackEnd, refusal, refused
from device_client import DeviceClient, arrival
from mqtt_wire import MqttPeer
from service_http import ServiceHttp

METHODS_FILTER = "$iothub/methods/POST/#"
PAYLOAD_BYTES_MAX = 131_072
CALLS_AT_ONCE = 20

# The service client sends an empty text where it is given none, and so cannot send null by itself.
PAYLOADS = [
    True,
    False,
    0,
    -1.5,
    "",
    "text",
    "größe 温度 \U0001f327 \" \\ \n",
    [],
    [1, "two", [None, {}]],
    {},
    {"a": {"b": [1, None, "c"]}, "größe": "grün"},
]


def echo(request) -> tuple[int, object]:
    return 200, request.payload


def request_id(topic: str) -> str:
    return topic.split("?$rid=", 1)[1]


def answer(peer: MqttPeer, call: mqtt_wire.Publish, status: int = 200, payload: bytes = b"null") -> None:
    topic = f"$iothub/methods/res/{status}/?$rid={request_id(call.topic)}"
    peer.send(mqtt_wire.publish_packet(topic, payload, qos=0))


def test_payloads_of_every_kind_pass_both_ways(client, back_end):
    client.serve(echo)
    for payload in PAYLOADS:
        assert back_end.invoke("echo", payload) == (200, payload)
        request = client.requests.get_nowait()
        assert (request.name, request.payload) == ("echo", payload)


def test_null_passes_both_ways(hub, client, back_end):
    client.serve(echo)
    path = f"/twins/{back_end.device}" + (f"/modules/{back_end.module}" if back_end.module else "")
    for body in ({"methodName": "echo"}, {"methodName": "echo", "payload": None}):
        assert ServiceHttp(hub).json("POST", f"{path}/methods", body) == {"status": 200, "payload": None}
        assert client.requests.get_nowait().payload is None


def test_the_status_is_the_choice_of_the_device(client, back_end):
    client.serve(lambda request: (request.payload, None))
    for status in (0, 1, 200, 299, 404, 500, 100_000):
        assert back_end.invoke("status", status) == (status, None)


def test_names_pass_as_they_are(client, back_end):
    client.serve(echo)
    for name in ("reboot", "thermostat1*getMaxMinReport", "with-dots.and_more~", "a&b!c'd"):
        assert back_end.invoke(name)[0] == 200
        assert client.requests.get_nowait().name == name


def test_calls_at_the_same_time_get_each_their_own_answer(client, back_end):
    together = threading.Barrier(4)

    def wait_for_the_others(request) -> tuple[int, object]:
        together.wait(timeout=10)
        return 200, request.payload

    # The synchronous client runs its handlers in a pool of threads; the asynchronous one must not be blocked.
    client.serve(echo if client.style == "aio" else wait_for_the_others)
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        calls = [pool.submit(back_end.invoke, "which", number) for number in range(CALLS_AT_ONCE)]
        assert [call.result(timeout=60) for call in calls] == [(200, number) for number in range(CALLS_AT_ONCE)]


def test_payloads_of_full_size_pass_both_ways(client, back_end):
    client.serve(echo)
    payload = "x" * (PAYLOAD_BYTES_MAX - 2)
    assert back_end.invoke("echo", payload) == (200, payload)


def test_a_payload_over_the_limit_is_refused(client, back_end):
    client.serve(echo)
    status, _ = refusal(back_end.invoke, "echo", "x" * (PAYLOAD_BYTES_MAX - 1))
    assert status in (400, 413)
    assert client.requests.empty()


def test_a_device_that_is_not_there_is_not_online(back_end):
    response = refused(back_end.invoke, "reboot")
    assert (response.status_code, response.headers["iothub-errorcode"]) == (404, "DeviceNotOnline")
    inner = json.loads(response.json()["Message"])
    assert inner["errorCode"] == 404103
    assert inner["trackingId"] and inner["message"] and inner["timestampUtc"].endswith("Z")


def test_a_device_that_serves_no_methods_is_not_online(client, back_end):
    client.get_twin()
    assert refusal(back_end.invoke, "reboot") == (404, "DeviceNotOnline")


def test_a_device_that_left_is_not_online(client, back_end):
    client.serve(echo)
    assert back_end.invoke("reboot")[0] == 200
    client.disconnect()
    await_offline(back_end)
    assert refusal(back_end.invoke, "reboot") == (404, "DeviceNotOnline")


def test_a_disabled_device_is_not_online(registry, device):
    registry.update_device_with_sas(device.id, "*", device.key, device.key, "disabled")
    assert refusal(device.back_end().invoke, "reboot") == (404, "DeviceNotOnline")


def test_an_unknown_device_is_not_found(registry, device):
    assert refusal(BackEnd(registry, f"{device.id}-ghost").invoke, "reboot") == (404, "DeviceNotFound")


def test_an_unknown_module_is_not_found(registry, device):
    assert refusal(BackEnd(registry, device.id, "ghost").invoke, "reboot") == (404, "ModuleNotFound")


def test_a_device_that_comes_in_time_is_called(hub, device):
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(device.back_end().invoke, "wake", "up", response_secs=30, connect_secs=20)
        # The call must be waiting before the device comes; there is nothing to be seen of it from outside.
        time.sleep(0.7)
        assert not call.done()
        with DeviceClient(device.connection_string, hub.ca_file) as client:
            client.serve(echo)
            assert call.result(timeout=20) == (200, "up")


def test_a_device_that_does_not_come_in_time_is_not_online(back_end):
    began = time.monotonic()
    response = refused(back_end.invoke, "wake", response_secs=10, connect_secs=2)
    assert (response.status_code, response.headers["iothub-errorcode"]) == (404, "DeviceNotOnline")
    assert "Timed out waiting for device to connect" in response.text
    assert 1.9 < time.monotonic() - began < 6


def test_a_device_that_does_not_answer_times_out(client, back_end):
    client.serve(lambda _: None)
    began = time.monotonic()
    assert refusal(back_end.invoke, "silence", response_secs=5) == (504, "GatewayTimeout")
    assert 4.9 < time.monotonic() - began < 10
    assert arrival(client.requests, "method request").name == "silence"


@pytest.mark.parametrize(
    "timeouts", [{"response_secs": 4}, {"response_secs": 301}, {"response_secs": 10, "connect_secs": 11}, {"connect_secs": 301}]
)
def test_timeouts_out_of_range_are_refused(device, timeouts):
    assert refusal(device.back_end().invoke, "reboot", **timeouts) == (400, "ArgumentInvalid")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"methodName":""}', b'{"methodName":7}'])
def test_a_body_that_calls_nothing_is_refused(hub, device, body):
    response = ServiceHttp(hub).call("POST", f"/twins/{device.id}/methods", data=body)
    assert response.status_code == 400, response.text
    assert response.headers["iothub-errorcode"]


def called(identity, pool: ThreadPoolExecutor, peer: MqttPeer, **options: object):
    """A call under way, and the request as the device got it."""
    assert peer.subscribe((METHODS_FILTER, 0)) == [0]
    call = pool.submit(refused, identity.back_end().invoke, "hang", response_secs=30, **options)
    return call, peer.next_publish()


def test_a_device_that_disconnects_fails_its_call(identity):
    with ThreadPoolExecutor(1) as pool, identity.connected() as peer:
        call, _ = called(identity, pool, peer)
        peer.disconnect()
        response = call.result(timeout=10)
    assert (response.status_code, response.headers["iothub-errorcode"]) == (404, "DeviceConnectionClosedRemotely")


def test_a_device_that_is_displaced_fails_its_call(identity):
    with ThreadPoolExecutor(1) as pool, identity.connected() as peer:
        call, _ = called(identity, pool, peer)
        with identity.connected():
            response = call.result(timeout=10)
    assert (response.status_code, response.headers["iothub-errorcode"]) == (400, "ConnectionForcefullyClosedOnNewConnection")


def test_an_answer_that_is_not_json_is_a_bad_gateway(identity):
    with ThreadPoolExecutor(1) as pool, identity.connected() as peer:
        call, request = called(identity, pool, peer)
        answer(peer, request, 200, b"not json")
        response = call.result(timeout=10)
        peer.ping()
    assert (response.status_code, response.headers["iothub-errorcode"]) == (502, "GenericBadGateway")


def test_an_answer_without_payload_is_null(device):
    with ThreadPoolExecutor(1) as pool, device.connected() as peer:
        peer.subscribe((METHODS_FILTER, 0))
        call = pool.submit(device.back_end().invoke, "empty")
        answer(peer, peer.next_publish(), 204, b"")
        assert call.result(timeout=10) == (204, None)


def await_offline(back_end: BackEnd) -> None:
    """The close is seen by the server a moment after the client is done with it."""
    deadline = time.monotonic() + 5
    while back_end.twin().connection_state != "Disconnected":
        assert time.monotonic() < deadline, "the device is still connected"
        time.sleep(0.05)
