"""`azure-eventhub` as a reader: one partition from a position, all of a hub, and a tail that runs beside the tests."""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from azure.eventhub import EventData, EventHubConsumerClient
from azure.eventhub.aio import EventHubConsumerClient as AsyncConsumerClient

from telemetry import Observed

DEFAULT_GROUP = "$Default"
READ_TIMEOUT_SECS = 40

Position = str | int | datetime


def text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value


def observed(partition: str, event: EventData) -> Observed:
    raw = event.raw_amqp_message
    properties = raw.properties
    return Observed(
        partition=partition,
        sequence=event.sequence_number,
        offset=text(event.offset),
        enqueued_ms=round(event.enqueued_time.timestamp() * 1000),
        body=b"".join(event.body),
        message_id=text(properties.message_id) if properties else None,
        correlation_id=text(properties.correlation_id) if properties else None,
        user_id=text(properties.user_id) if properties else None,
        content_type=text(properties.content_type) if properties else None,
        content_encoding=text(properties.content_encoding) if properties else None,
        properties={text(k): text(v) for k, v in (event.properties or {}).items()},
        annotations={text(k): text(v) for k, v in raw.annotations.items()},
    )


class OpenReader:
    """One receiver on one partition, reading in the background until closed.

    Retries are off: a refusal is what some cases wait for, and a second try would hide it.
    """

    def __init__(
        self,
        connection_string: str,
        ca_file: str | None,
        partition: str,
        start: Position = "-1",
        *,
        inclusive: bool = False,
        group: str = DEFAULT_GROUP,
        owner_level: int | None = None,
        track_last: bool = False,
    ):
        self.events: list[Observed] = []
        self.last_enqueued: list[dict] = []
        self.errors: list[Exception] = []
        self.close_reasons: list[object] = []
        self._changed = threading.Condition()
        self._client = EventHubConsumerClient.from_connection_string(
            connection_string, group, connection_verify=ca_file, retry_total=0
        )
        self._thread = threading.Thread(
            target=self._client.receive,
            kwargs={
                "on_event": self._on_event,
                "on_error": self._on_error,
                "on_partition_close": lambda _, reason: self.close_reasons.append(reason),
                "partition_id": partition,
                "starting_position": start,
                "starting_position_inclusive": inclusive,
                "owner_level": owner_level,
                "track_last_enqueued_event_properties": track_last,
            },
            daemon=True,
        )
        self._track_last = track_last
        self._thread.start()

    def __enter__(self) -> "OpenReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, condition: Callable[["OpenReader"], bool], timeout_secs: float = READ_TIMEOUT_SECS) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout_secs)

    def first_event(self) -> Observed:
        """Waits until the link is known to be open, which the client itself does not tell."""
        assert self.wait(lambda r: r.events or r.errors), "the receiver neither read nor failed"
        assert not self.errors, f"the receiver was refused: {self.errors[0]}"
        return self.events[0]

    def error(self) -> Exception:
        assert self.wait(lambda r: r.errors), f"no error; read {len(self.events)} events instead"
        return self.errors[0]

    def close(self) -> None:
        self._client.close()
        self._thread.join(timeout=15)

    def _on_event(self, context: object, event: EventData | None) -> None:
        if event is None:
            return
        with self._changed:
            self.events.append(observed(context.partition_id, event))
            if self._track_last:
                self.last_enqueued.append(context.last_enqueued_event_properties)
            self._changed.notify_all()

    def _on_error(self, _: object, error: Exception) -> None:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()


def last_sequences(connection_string: str, ca_file: str | None) -> dict[str, int]:
    """The newest sequence number of every partition, −1 for an empty one."""
    client = EventHubConsumerClient.from_connection_string(
        connection_string, DEFAULT_GROUP, connection_verify=ca_file, retry_total=1
    )
    with client:
        return {p: client.get_partition_properties(p)["last_enqueued_sequence_number"] for p in client.get_partition_ids()}


def read_partition(
    connection_string: str, ca_file: str | None, partition: str, start: Position, last: int, **options: object
) -> list[Observed]:
    """Reads from `start` up to and including sequence number `last`."""
    with OpenReader(connection_string, ca_file, partition, start, **options) as reader:
        arrived = reader.wait(lambda r: r.errors or (r.events and r.events[-1].sequence >= last))
        assert not reader.errors, f"partition {partition} from {start!r}: {reader.errors[0]}"
        assert arrived, f"partition {partition} from {start!r}: stopped after {len(reader.events)} events, before {last}"
        return list(reader.events)


def read_everything(connection_string: str, ca_file: str | None, group: str = DEFAULT_GROUP) -> list[Observed]:
    """All partitions from the start to what is there now, one receiver after the other."""
    return [
        event
        for partition, last in last_sequences(connection_string, ca_file).items()
        if last >= 0
        for event in read_partition(connection_string, ca_file, partition, "-1", last, group=group)
    ]


def read_everything_async(connection_string: str, ca_file: str | None, group: str = DEFAULT_GROUP) -> list[Observed]:
    """The same through the asynchronous client, all partitions at once through one `receive_batch`."""
    return asyncio.run(_read_everything_async(connection_string, ca_file, group))


async def _read_everything_async(connection_string: str, ca_file: str | None, group: str) -> list[Observed]:
    client = AsyncConsumerClient.from_connection_string(connection_string, group, connection_verify=ca_file)
    events: list[Observed] = []
    finished = asyncio.Event()
    async with client:
        ends = {p: (await client.get_partition_properties(p))["last_enqueued_sequence_number"] for p in await client.get_partition_ids()}
        missing = {partition for partition, last in ends.items() if last >= 0}

        async def on_event_batch(context: object, batch: list[EventData]) -> None:
            for event in batch:
                events.append(observed(context.partition_id, event))
                if event.sequence_number >= ends[context.partition_id]:
                    missing.discard(context.partition_id)
            if not missing:
                finished.set()

        task = asyncio.create_task(client.receive_batch(on_event_batch, starting_position="-1", max_wait_time=1))
        try:
            await asyncio.wait_for(finished.wait(), READ_TIMEOUT_SECS)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return events


class Tail:
    """Reads the whole hub while the tests run, so that a test can ask what a device's telemetry became."""

    def __init__(self, connection_string: str, ca_file: str | None, group: str):
        # One question first: a hub that cannot be read fails here at once, not in every case after its own time limit.
        partitions = last_sequences(connection_string, ca_file)
        self._by_device: dict[str, list[Observed]] = defaultdict(list)
        self._changed = threading.Condition()
        self._client = EventHubConsumerClient.from_connection_string(connection_string, group, connection_verify=ca_file)
        # A call for all partitions would visit them in turn in one thread and wait a moment at each idle one.
        self._threads = [threading.Thread(target=self._read, args=(partition,), daemon=True) for partition in partitions]
        for thread in self._threads:
            thread.start()

    def of_device(self, device: str, count: int, timeout_secs: float = 15) -> list[Observed]:
        """The device's messages, once there are `count` of them."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self._by_device[device]) >= count, timeout_secs)
            events = list(self._by_device[device])
        assert arrived, f"{device}: {len(events)} of {count} messages arrived"
        return events

    def nothing_more(self, device: str, count: int, for_secs: float = 1.5) -> None:
        time.sleep(for_secs)
        with self._changed:
            assert len(self._by_device[device]) == count, f"{device}: {len(self._by_device[device])} messages, not {count}"

    def close(self) -> None:
        self._client.close()
        for thread in self._threads:
            thread.join(timeout=15)

    def _read(self, partition: str) -> None:
        self._client.receive_batch(
            self._on_event_batch, partition_id=partition, starting_position="-1", max_batch_size=100, max_wait_time=1
        )

    def _on_event_batch(self, context: object, batch: list[EventData]) -> None:
        seen = [observed(context.partition_id, event) for event in batch]
        with self._changed:
            for event in seen:
                self._by_device[event.device].append(event)
            self._changed.notify_all()
