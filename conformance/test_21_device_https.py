"""Devices over HTTPS: the Node SDK's transport, and every header and answer by hand."""

import base64
import json
import re

import pytest
import requests

import tokens
from subject import HOST
from telemetry import Sent, assert_same
from test_20_websocket import for_node

TIMEOUT_SECS = 10
BATCH = "application/vnd.microsoft.iothub.json"

# What the documentation allows over HTTPS, in values that a header carries.
SENT = {
    "message_id": "m-1",
    "correlation_id": "c-1",
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "properties": {"MyKey": "v1", "other": "v-2"},
}


def ask(device, method: str, path: str, *, token: str | None = None, query: str = "", **options: object) -> requests.Response:
    url = f"https://{HOST}:{device.hub.port('https')}/devices/{device.id}/{path}?api-version=2021-04-12{query}"
    headers = {"Authorization": device.token() if token is None else token} | options.pop("headers", {})
    return requests.request(method, url, headers=headers, timeout=TIMEOUT_SECS, verify=device.hub.ca_file, **options)


def assert_error(answer: requests.Response, status: int, name: str) -> None:
    assert (answer.status_code, answer.headers.get("iothub-errorcode")) == (status, name), answer.text
    assert answer.json()["Message"].startswith(f"ErrorCode:{name};")
    assert "x-ms-request-id" in answer.headers


@pytest.mark.parametrize("batch", [False, True], ids=["single", "batch"])
def test_node_device_sends_over_https(hub, device, tail, node, batch):
    sent = [Sent(device.id, index, f"body {index}".encode(), **SENT) for index in range(5)]
    request = {
        "transport": "http",
        "batch": batch,
        "connectionString": device.connection_string,
        "caFile": hub.ca_file,
        "messages": [for_node(message) for message in sent],
    }
    outcome = node("device_telemetry.js", request)
    assert outcome["error"] is None
    events = tail.of_device(device.id, len(sent))
    for message, event in zip(sent, events, strict=True):
        assert (event.body, event.properties) == (message.body, message.properties)
        if not batch:
            # In a batch this client sends application properties alone.
            assert_same(message, event)


def test_a_request_makes_no_connection(hub, device, registry):
    assert ask(device, "POST", "messages/events", data=b"x").status_code == 204
    assert registry.get_device(device.id).connection_state == "Disconnected"
    with device.connected():
        assert ask(device, "POST", "messages/events", data=b"x").status_code == 204
        assert registry.get_device(device.id).connection_state == "Connected"


def test_headers_become_properties(device, tail):
    headers = {
        "IoTHub-MessageId": "m1",
        "iothub-correlationid": "c1",
        "iothub-userid": "u1",
        "iothub-contenttype": "text/plain",
        "iothub-contentencoding": "utf-8",
        "iothub-creationtimeutc": "2026-01-01T00:00:00Z",
        "iothub-to": f"/devices/{device.id}/messages/events",
        "iothub-ack": "full",
        "dt-subject": "thermostat",
        "iothub-app-MyKey": "A value",
        "Content-Type": "application/octet-stream",
    }
    assert ask(device, "POST", "messages/events/", data=iter([b"in ", b"chunks"]), headers=headers).status_code == 204
    [event] = tail.of_device(device.id, 1)
    assert event.body == b"in chunks"
    assert (event.message_id, event.correlation_id, event.user_id) == ("m1", "c1", "u1")
    assert (event.content_type, event.content_encoding) == ("text/plain", "utf-8")
    assert event.properties == {"MyKey": "A value", "iothub-creation-time-utc": "2026-01-01T00:00:00Z"}
    assert event.annotations["dt-subject"] == "thermostat"


def test_elements_of_a_batch_are_messages(device, tail):
    elements = [
        {"body": base64.b64encode(b"one").decode(), "properties": {"iothub-app-K": "v", "iothub-messageid": "1"}},
        {"body": "two ä", "base64Encoded": False},
    ]
    answer = ask(device, "POST", "messages/events", data=json.dumps(elements), headers={"Content-Type": BATCH})
    assert answer.status_code == 204, answer.text
    first, second = tail.of_device(device.id, 2)
    assert (first.body, first.message_id, first.properties) == (b"one", "1", {"K": "v"})
    assert (second.body, second.properties) == ("two ä".encode(), {})


def test_a_batch_is_taken_whole_or_not_at_all(device, tail):
    elements = [{"body": "b25l"}, {"body": "no base64!"}]
    answer = ask(device, "POST", "messages/events", data=json.dumps(elements), headers={"Content-Type": BATCH})
    assert_error(answer, 400, "DeserializationError")
    assert_error(ask(device, "POST", "messages/events", data="[]", headers={"Content-Type": BATCH}), 400, "ArgumentInvalid")
    tail.nothing_more(device.id, 0)


def test_sizes(device, tail):
    assert ask(device, "POST", "messages/events", data=b"x" * 262_144).status_code == 204
    for size in (262_145, 600_000):
        assert_error(ask(device, "POST", "messages/events", data=b"x" * size), 413, "MessageTooLarge")
    [event] = tail.of_device(device.id, 1)
    assert len(event.body) == 262_144


def test_who_is_refused(hub, device, register):
    other = register("other-https")
    disabled = register("disabled-https", status="disabled")
    for token in ("", "nonsense", other.token(), device.token(expires_at=1)):
        assert_error(ask(device, "POST", "messages/events", data=b"x", token=token), 401, "IotHubUnauthorizedAccess")
    for token in ("", disabled.token()):
        assert_error(ask(disabled, "POST", "messages/events", data=b"x", token=token), 404, "DeviceNotFound")
    hub.await_record("refused", "signature", device.id)


def test_versions_and_methods(device):
    url = f"https://{HOST}:{device.hub.port('https')}/devices/{device.id}/messages/events"
    answer = requests.post(url, headers={"Authorization": device.token()}, verify=device.hub.ca_file, timeout=TIMEOUT_SECS)
    assert_error(answer, 400, "InvalidProtocolVersion")
    assert_error(ask(device, "GET", "messages/events"), 405, "GenericMethodNotAllowed")


def test_no_command_is_204_and_a_lost_lock_412(device):
    assert ask(device, "GET", "messages/deviceBound").status_code == 204
    lock = "00000000-0000-0000-0000-000000000001"
    for method, path in (("DELETE", f"messages/devicebound/{lock}"), ("POST", f"messages/deviceBound/{lock}/abandon")):
        assert_error(ask(device, method, path), 412, "DeviceMessageLockLost")
    assert_error(ask(device, "DELETE", "messages/devicebound/nonsense"), 412, "DeviceMessageLockLost")




def send_command(hub, device, **command: object) -> None:
    answer = requests.post(
        f"https://{HOST}:{hub.port('https')}/$ironhub/v1/commands/{device.id}",
        headers={"Authorization": tokens.signature_token(HOST, hub.policy.key, policy=hub.policy.name)},
        json=command,
        verify=hub.ca_file,
        timeout=TIMEOUT_SECS,
    )
    assert answer.status_code == 201, answer.text


def test_a_command_has_its_headers_in_exact_spelling(hub, device):
    send_command(
        hub,
        device,
        messageId="m1",
        correlationId="c1",
        contentType="text/plain",
        contentEncoding="utf-8",
        ack="full",
        expiresInSecs=600,
        properties={"MyKey": "a value"},
        bodyText="do it",
    )
    answer = ask(device, "GET", "messages/deviceBound", query="&iothub-messagelocktimeout=60")
    assert (answer.status_code, answer.content) == (200, b"do it")
    # As they stand on the wire: some clients compare names with case.
    headers = dict(answer.raw.headers.items())
    lock = headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"', lock)
    assert headers["iothub-messageid"] == "m1"
    assert headers["iothub-correlationid"] == "c1"
    assert headers["iothub-to"].startswith(f"/devices/{device.id}/messages/")
    assert headers["iothub-ack"] == "full"
    assert headers["iothub-sequencenumber"].isdigit()
    assert headers["iothub-deliverycount"] == "0"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", headers["iothub-enqueuedtime"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", headers["iothub-expiry"])
    assert headers["iothub-app-MyKey"] == "a value"
    assert (headers["ContentType"], headers["ContentEncoding"]) == ("text/plain", "utf-8")
    # It is locked; a second request finds nothing, and the spelling of the rejection is that of one client.
    assert ask(device, "GET", "messages/deviceBound").status_code == 204
    path = f"messages/devicebound/{lock.strip(chr(34))}"
    headers = {"If-Match": lock}
    assert ask(device, "DELETE", path, query="&%3Freject=true", headers=headers).status_code == 204
    assert_error(ask(device, "DELETE", path, headers=headers), 412, "DeviceMessageLockLost")


@pytest.mark.parametrize("verb", ["complete", "reject", "abandon"])
def test_node_device_settles_commands(hub, device, node, verb):
    send_command(hub, device, bodyText="do it")
    settlements = [verb] if verb != "abandon" else ["abandon", "complete"]
    request = {"connectionString": device.connection_string, "caFile": hub.ca_file, "settlements": settlements}
    outcome = node("device_commands.js", request)
    assert not outcome["errors"], outcome["errors"]
    assert [base64.b64decode(command["body"]) for command in outcome["received"]] == [b"do it"] * len(settlements)
    assert ask(device, "GET", "messages/deviceBound").status_code == 204
