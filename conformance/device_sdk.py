"""`azure-iot-device` as a sender, through both of its clients."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from azure.iot.device import IoTHubDeviceClient, Message
from azure.iot.device.aio import IoTHubDeviceClient as AsyncDeviceClient

from telemetry import Sent

SEND_TIMEOUT_SECS = 60


def to_message(sent: Sent) -> Message:
    message = Message(sent.body, sent.message_id, sent.content_encoding, sent.content_type)
    message.correlation_id = sent.correlation_id
    message.user_id = sent.user_id
    message.custom_properties = dict(sent.properties)
    return message


def options(ca_file: str) -> dict:
    # Without retries a refusal shows at once instead of being tried again behind the test's back.
    return {"server_verification_cert": Path(ca_file).read_text(), "connection_retry": False, "keep_alive": 30}


def send(connection_string: str, messages: list[Sent], ca_file: str) -> None:
    """Sends one after the other; each call returns when its PUBACK came."""
    client = IoTHubDeviceClient.create_from_connection_string(connection_string, **options(ca_file))
    try:
        client.connect()
        for message in messages:
            client.send_message(to_message(message))
    finally:
        client.shutdown()


async def send_async(connection_string: str, messages: list[Sent], ca_file: str) -> None:
    """Sends one after the other, too: the client itself keeps no order between sends that are awaited together."""
    client = AsyncDeviceClient.create_from_connection_string(connection_string, **options(ca_file))
    try:
        await client.connect()
        for message in messages:
            await client.send_message(to_message(message))
    finally:
        await client.shutdown()


async def _send_all_async(strings: dict[str, str], plan: dict[str, list[Sent]], ca_file: str) -> None:
    await asyncio.gather(*(send_async(strings[device], messages, ca_file) for device, messages in plan.items()))


def send_all(strings: dict[str, str], plan: dict[str, list[Sent]], ca_file: str) -> None:
    """All devices at once: the first half of them through the synchronous client, the others through the asynchronous one."""
    devices = list(plan)
    middle = len(devices) // 2
    with ThreadPoolExecutor(max_workers=middle + 1) as pool:
        work = [pool.submit(send, strings[d], plan[d], ca_file) for d in devices[:middle]]
        rest = {device: plan[device] for device in devices[middle:]}
        work.append(pool.submit(lambda: asyncio.run(_send_all_async(strings, rest, ca_file))))
        for job in work:
            job.result(timeout=SEND_TIMEOUT_SECS)
