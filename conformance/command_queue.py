"""What cases about cloud-to-device messages do over and over: look at a queue, take from it, fill it."""

import time

import mqtt_wire
import proton_service
from identities import Device
from mqtt_wire import MqttPeer
from proton_service import Door, Verdict, command


def queued(device: Device) -> int:
    registry = device.back_end().registry
    found = registry.get_module(device.id, device.module) if device.module else registry.get_device(device.id)
    return found.cloud_to_device_message_count


def await_queued(device: Device, count: int, within_secs: float = 5) -> None:
    """For acknowledgements that are still on their way."""
    deadline = time.monotonic() + within_secs
    while (found := queued(device)) != count:
        assert time.monotonic() < deadline, f"{found} messages are queued, not {count}"
        time.sleep(0.05)


def send(door: Door, device: Device, *bodies: bytes, **properties: object) -> None:
    """Sends commands that have to be accepted."""
    assert accepted(proton_service.send(door, *(command(device.id, body, **properties) for body in bodies)))


def accepted(verdicts: list[Verdict]) -> bool:
    return all(verdict.accepted for verdict in verdicts)


def receiving(device: Device, qos: int = 1, **options: object) -> MqttPeer:
    """The device, connected and subscribed to its commands."""
    peer = device.connected(**options)
    assert peer.subscribe((device.commands_filter, qos)) == [qos]
    return peer


def complete_one(device: Device) -> mqtt_wire.Publish:
    """Takes the oldest message off the queue as the device."""
    left = queued(device) - 1
    with receiving(device) as peer:
        received = peer.next_publish()
        peer.acknowledge(received)
        await_queued(device, left)
        peer.disconnect()
    return received
