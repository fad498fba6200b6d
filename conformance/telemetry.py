"""The messages every reader has to find again, and the one comparison all readers share.

Each client turns what it read into `Observed`, so that a difference between two clients can only come from the client or the
wire, never from two ways of looking.
"""

import base64
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field

DEVICES = 8
MESSAGES_PER_DEVICE = 125

# Names and values that a property bag in a topic has to escape: separators, percent, plus, slash, space, non-ASCII, nothing.
AWKWARD_PROPERTIES = {
    "plain": "value",
    "a&b=c": "1&2=3",
    "per%cent": "100%25 sure",
    "path/with/slash": "/a//b/",
    "plus+and space": "1 + 1",
    "empty": "",
    "größe": "grün",
    "温度": "摂氏 23°",
    "emoji": "\U0001f327 rain",
    "quote'\"": "\\back;semi,comma?#$",
}


@dataclass(frozen=True)
class Sent:
    device: str
    index: int
    body: bytes
    message_id: str | None = None
    correlation_id: str | None = None
    user_id: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    properties: dict[str, str] = field(default_factory=dict)


@dataclass
class Observed:
    partition: str
    sequence: int
    offset: str
    enqueued_ms: int
    body: bytes
    message_id: str | None
    correlation_id: str | None
    user_id: str | None
    content_type: str | None
    content_encoding: str | None
    properties: dict[str, str]
    annotations: dict[str, object]

    @property
    def device(self) -> str | None:
        return self.annotations.get("iothub-connection-device-id")

    @staticmethod
    def from_json(record: dict) -> "Observed":
        """The form the Node scripts print: the same names, with the body in base64."""
        return Observed(**{**record, "body": base64.b64decode(record["body"])})


def message_to_send(device: str, index: int) -> Sent:
    """Four kinds in turn, so that presence and absence of every part are both seen."""
    mark = f"{device}/{index}"
    match index % 4:
        case 0:
            return Sent(
                device,
                index,
                json.dumps({"mark": mark, "temperature": 20.5, "unit": "°C"}, ensure_ascii=False).encode(),
                message_id=f"{device}-{index}",
                correlation_id=f"corr:{index}",
                user_id=f"user {index}",
                content_type="application/json",
                content_encoding="utf-8",
                properties=AWKWARD_PROPERTIES | {"index": str(index)},
            )
        case 1:
            return Sent(device, index, mark.encode() + b"|" + bytes(range(256)))
        case 2:
            return Sent(
                device,
                index,
                mark.encode(),
                message_id=f"id-:.+%_#*?!(),=@;$'{index}",
                content_type="text/plain; charset=utf-8",
            )
        case _:
            # Longer than the 4096-byte frames one of the peers asks for.
            return Sent(device, index, mark.encode() + b"|" + b"x" * 6000, properties={"index": str(index)})


def messages_of(device: str) -> list[Sent]:
    return [message_to_send(device, index) for index in range(MESSAGES_PER_DEVICE)]


def assert_all_read(observed: list[Observed], sent: dict[str, list[Sent]], generations: dict[str, str], since: float) -> None:
    """Everything that was acknowledged arrived once, whole, in order, and stamped by the hub."""
    by_device: dict[str, list[Observed]] = defaultdict(list)
    for event in observed:
        by_device[event.device].append(event)
    for device, messages in sent.items():
        events = by_device[device]
        assert len(events) == len(messages), f"{device}: sent {len(messages)}, read {len(events)}; {repeated(events)}"
        for message, event in zip(messages, events, strict=True):
            assert_same(message, event)
            assert_stamped(event, device, generations[device], since)
        assert len({event.partition for event in events}) == 1, f"{device} is spread over partitions"
    assert_gap_free(observed)


def repeated(events: list[Observed]) -> str:
    """What a failure says of messages that were stored more than once: where and when each of their copies was."""
    copies: dict[bytes, list[Observed]] = defaultdict(list)
    for event in events:
        copies[event.body].append(event)
    told = [
        f"{body[:40]!r}: " + ", ".join(f"sequence {c.sequence} at {c.enqueued_ms}" for c in each)
        for body, each in copies.items()
        if len(each) > 1
    ]
    return f"more than once: {told or 'none'}"


def assert_same(message: Sent, event: Observed) -> None:
    where = f"{message.device} message {message.index}"
    for name in ("body", "message_id", "correlation_id", "user_id", "content_type", "content_encoding", "properties"):
        assert getattr(event, name) == getattr(message, name), f"{where}: {name}"


def assert_stamped(event: Observed, device: str, generation: str, since: float) -> None:
    stamps = event.annotations
    assert stamps["iothub-connection-device-id"] == device
    assert json.loads(stamps["iothub-connection-auth-method"]) == {
        "scope": "device",
        "type": "sas",
        "issuer": "iothub",
        "acceptingIpFilterRule": None,
    }
    assert stamps["iothub-connection-auth-generation-id"] == generation
    assert stamps["iothub-message-source"] == "Telemetry"
    assert (since - 5) * 1000 <= stamps["iothub-enqueuedtime"] <= (time.time() + 5) * 1000
    assert (since - 5) * 1000 <= event.enqueued_ms <= (time.time() + 5) * 1000
    assert "x-opt-partition-key" not in stamps
    assert event.offset.lstrip("-").isdigit(), "some clients read the offset as a number"


def assert_gap_free(observed: list[Observed]) -> None:
    """Within each partition, in the order of arrival: numbers without a gap, offsets and times that never go back."""
    by_partition: dict[str, list[Observed]] = defaultdict(list)
    for event in observed:
        by_partition[event.partition].append(event)
    for partition, events in by_partition.items():
        numbers = [event.sequence for event in events]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"partition {partition}: {numbers[:20]} ..."
        offsets = [int(event.offset) for event in events]
        assert offsets == sorted(set(offsets)), f"partition {partition}: offsets do not rise"
        times = [event.enqueued_ms for event in events]
        assert times == sorted(times), f"partition {partition}: enqueued times go back"
