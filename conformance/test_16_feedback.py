"""What became of each cloud-to-device message: told over AMQP and HTTPS, once, to those who asked."""

import json
import time
from datetime import datetime

import pytest
from azure.iot.hub import IoTHubHttpRuntimeManager
from proton import Delivery

import proton_service
from back_end import refusal
from command_queue import accepted, complete_one, queued
from proton_service import command, feedback_about
from service_http import ServiceHttp

FEEDBACK_TYPE = "application/vnd.microsoft.iothub.feedback.json"


def records(batch: proton_service.Batch) -> list[dict]:
    return json.loads(bytes(batch.message.body))


def record_of(batch: proton_service.Batch, message_id: str) -> dict:
    [record] = [r for r in records(batch) if r["originalMessageId"] == message_id]
    return record


@pytest.mark.parametrize("ack", ["full", "positive", "Full"])
def test_a_completed_message_is_told_as_a_success(device, door, ack):
    message = command(device.id, b"1", ack=ack)
    sent_at = time.time()
    proton_service.send(door, message)
    complete_one(device)
    batch = feedback_about(door, message.id)
    record = record_of(batch, message.id)
    assert (record["statusCode"], record["description"]) == ("Success", "Success")
    assert (record["deviceId"], record["deviceGenerationId"]) == (device.id, device.generation)
    told_at = datetime.fromisoformat(record["enqueuedTimeUtc"]).timestamp()
    assert sent_at - 5 < told_at < time.time() + 5


def test_a_batch_has_the_form_of_the_service(hub, device, door):
    message = command(device.id, b"1", ack="full")
    proton_service.send(door, message)
    complete_one(device)
    batch = feedback_about(door, message.id)
    assert batch.message.content_type == FEEDBACK_TYPE
    assert bytes(batch.message.user_id).decode() == hub.name
    assert batch.message.annotations["iothub-enqueuedtime"] > (time.time() - 60) * 1_000
    assert len(batch.tag) == 16


def test_nothing_is_told_that_was_not_asked_for(device, door):
    silent = [command(device.id, b"1"), command(device.id, b"1", ack="none"), command(device.id, b"1", ack="negative")]
    last = command(device.id, b"1", ack="positive")
    proton_service.send(door, *silent, last)
    for _ in range(4):
        complete_one(device)
    # Records keep their order, so the batch with the last one shows that there were none before.
    batch = feedback_about(door, last.id)
    assert {record["originalMessageId"] for record in records(batch) if record["deviceId"] == device.id} == {last.id}


@pytest.mark.parametrize("ack", ["full", "negative"])
def test_an_expired_message_is_told(device, door, ack):
    message = command(device.id, b"1", ack=ack, expiry_time=time.time() + 1)
    proton_service.send(door, message)
    assert record_of(feedback_about(door, message.id), message.id)["statusCode"] == "Expired"
    assert queued(device) == 0


def test_a_message_that_is_late_already_expires_at_once(device, door):
    message = command(device.id, b"1", ack="full", expiry_time=time.time() - 60)
    assert accepted(proton_service.send(door, message))
    assert record_of(feedback_about(door, message.id), message.id)["statusCode"] == "Expired"


def test_an_expired_message_is_not_delivered(device, door):
    expiring = command(device.id, b"late", expiry_time=time.time() + 0.5)
    proton_service.send(door, expiring, command(device.id, b"in time"))
    deadline = time.monotonic() + 10
    while queued(device) != 1:
        assert time.monotonic() < deadline, "the message did not expire"
        time.sleep(0.1)
    assert complete_one(device).payload == b"in time"


@pytest.mark.parametrize("ack", ["full", "negative"])
def test_a_purged_message_is_told(hub, device, door, ack):
    message = command(device.id, b"1", ack=ack)
    proton_service.send(door, message, command(device.id, b"2"))
    answer = ServiceHttp(hub).json("DELETE", f"/devices/{device.id}/commands")
    assert (answer["deviceId"], answer["totalMessagesPurged"]) == (device.id, 2)
    assert queued(device) == 0
    assert record_of(feedback_about(door, message.id), message.id)["statusCode"] == "Purged"


def test_a_purge_of_an_empty_queue_purges_nothing(hub, device):
    assert ServiceHttp(hub).json("DELETE", f"/devices/{device.id}/commands")["totalMessagesPurged"] == 0


def test_a_purge_of_an_unknown_device_is_not_found(hub, device):
    answer = ServiceHttp(hub).call("DELETE", f"/devices/{device.id}-ghost/commands")
    assert (answer.status_code, answer.headers["iothub-errorcode"]) == (404, "DeviceNotFound")


def test_the_hub_settles_when_the_receiver_leaves_it_to_the_hub(device, door):
    message = command(device.id, b"1", ack="full")
    proton_service.send(door, message)
    complete_one(device)
    batch = feedback_about(door, message.id, hub_settles=True, credit=10)
    assert batch.answer == Delivery.ACCEPTED


def test_abandoned_feedback_comes_again_and_completed_feedback_does_not(device, door):
    message = command(device.id, b"1", ack="full")
    proton_service.send(door, message)
    complete_one(device)
    abandoned = feedback_about(door, message.id, state=Delivery.RELEASED)
    again = feedback_about(door, message.id)
    assert record_of(again, message.id) == record_of(abandoned, message.id)
    other = command(device.id, b"2", ack="full")
    proton_service.send(door, other)
    complete_one(device)
    assert message.id not in bytes(feedback_about(door, other.id).message.body).decode()


def test_feedback_over_https_is_locked_abandoned_and_completed(hub, device, door):
    message = command(device.id, b"1", ack="full")
    proton_service.send(door, message)
    complete_one(device)
    service = ServiceHttp(hub)
    first, token = feedback_over_https(service, message.id)
    assert first[-1]["statusCode"] == "Success"
    # The official client gives no feedback to its caller, but can say what becomes of it.
    official = IoTHubHttpRuntimeManager.from_connection_string(hub.service_connection_string())
    official.abandon_feedback_notification(token)
    again, token = feedback_over_https(service, message.id)
    assert again == first
    official.complete_feedback_notification(token)
    official.receive_feedback_notification()
    assert service.call("GET", "/messages/serviceBound/feedback").status_code == 204
    assert refusal(official.complete_feedback_notification, token) == (412, "DeviceMessageLockLost")


def feedback_over_https(service: ServiceHttp, message_id: str) -> tuple[list[dict], str]:
    """The batch that tells of this message, and its lock; batches of other cases are completed."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        answer = service.call("GET", "/messages/serviceBound/feedback")
        if answer.status_code == 204:
            time.sleep(0.1)
            continue
        assert answer.status_code == 200, answer.text
        token = answer.headers["ETag"].strip('"')
        if message_id in answer.text:
            return answer.json(), token
        service.call("DELETE", f"/messages/serviceBound/feedback/{token}")
    raise AssertionError(f"no feedback on {message_id}")


def test_node_receives_feedback(device, node_service):
    node_service.call("receiveFeedback")
    sent = {f"{device.id}-{number}" for number in range(3)}
    for message_id in sent:
        node_service.call("send", device=device.id, body="x", messageId=message_id, ack="full")
    for _ in sent:
        complete_one(device)
    told: dict[str, str] = {}
    while not sent <= told.keys():
        event = node_service.next_event("feedback")
        assert event["contentType"] == FEEDBACK_TYPE
        told |= {record["originalMessageId"]: record["statusCode"] for record in event["records"]}
    assert {told[message_id] for message_id in sent} == {"Success"}
