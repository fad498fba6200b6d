"""`azure-iot-device` over MQTT: what it sends is acknowledged, and it can come and go."""

import asyncio

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device.exceptions import ClientError, CredentialError

import device_sdk
import tokens
from telemetry import DEVICES, MESSAGES_PER_DEVICE, Sent, message_to_send


def test_thousand_messages_of_eight_devices_are_acknowledged(workload):
    assert len(workload.sent) == DEVICES
    assert sum(len(messages) for messages in workload.sent.values()) == DEVICES * MESSAGES_PER_DEVICE == 1000


def test_sync_client_sends_every_kind_of_property(hub, device, tail):
    messages = [message_to_send(device.id, index) for index in range(4)]
    device_sdk.send(device.connection_string, messages, hub.ca_file)
    seen = tail.of_device(device.id, 4)
    for message, event in zip(messages, seen, strict=True):
        assert (event.body, event.properties, event.user_id) == (message.body, message.properties, message.user_id)


def test_async_client_sends_every_kind_of_property(hub, device, tail):
    messages = [message_to_send(device.id, index) for index in range(4)]
    asyncio.run(device_sdk.send_async(device.connection_string, messages, hub.ca_file))
    seen = tail.of_device(device.id, 4)
    assert [event.body for event in seen] == [message.body for message in messages]
    assert [event.properties for event in seen] == [message.properties for message in messages]


def test_client_reconnects_after_disconnect_and_keeps_order(hub, device, tail):
    client = IoTHubDeviceClient.create_from_connection_string(device.connection_string, **device_sdk.options(hub.ca_file))
    try:
        for number in range(3):
            client.connect()
            client.send_message(f"round {number}")
            client.disconnect()
    finally:
        client.shutdown()
    assert [event.body for event in tail.of_device(device.id, 3)] == [b"round 0", b"round 1", b"round 2"]


def test_dotted_host_name_is_served_like_localhost(hub, device, tail, loopback_names):
    loopback_names(hub.dotted_name)
    string = hub.device_connection_string(device.id, device.key, host=hub.dotted_name)
    device_sdk.send(string, [Sent(device.id, 0, b"by its full name")], hub.ca_file)
    assert tail.of_device(device.id, 1)[0].body == b"by its full name"


def test_client_refuses_a_server_it_was_not_told_to_trust(device):
    client = IoTHubDeviceClient.create_from_connection_string(device.connection_string, connection_retry=False)
    try:
        with pytest.raises(ClientError, match="TLS"):
            client.connect()
    finally:
        client.shutdown()


def test_client_reports_a_wrong_key_as_a_credential_error(hub, device):
    string = hub.device_connection_string(device.id, tokens.new_key())
    client = IoTHubDeviceClient.create_from_connection_string(string, **device_sdk.options(hub.ca_file))
    try:
        with pytest.raises(CredentialError):
            client.connect()
    finally:
        client.shutdown()
    hub.await_record("refused", "signature|key", device.id)
