"""`@azure/event-hubs` reads what the devices sent: whole, from any position, under the rules of ownership."""

from collections import Counter

import pytest

from event_readers import last_sequences, read_partition
from telemetry import Observed, assert_all_read, assert_gap_free

pytestmark = pytest.mark.usefixtures("workload")

SCRIPT = "event_hubs.js"


@pytest.fixture(scope="module")
def ends(hub, workload) -> dict[str, int]:
    found = last_sequences(hub.reader_connection_string(), hub.ca_file)
    return {partition: last for partition, last in found.items() if last >= 0}


@pytest.fixture(scope="module")
def everything(hub, node, ends) -> list[Observed]:
    return read(node, hub, ends)


@pytest.fixture(scope="module")
def busy(everything) -> list[Observed]:
    fullest, _ = Counter(event.partition for event in everything).most_common(1)[0]
    return [event for event in everything if event.partition == fullest]


def read(node, hub, ends: dict[str, int], **options: object) -> list[Observed]:
    request = {"action": "read", "connectionString": hub.reader_connection_string(), "ends": ends} | options
    names = options.get("loopbackNames")
    result = node(SCRIPT, request, loopback_names=names)
    assert not result["errors"], result["errors"]
    assert not result["missing"], f"partitions {result['missing']} were not read to their end"
    return [Observed.from_json(record) for record in result["events"]]


def refused(node, hub, ends: dict[str, int], **options: object) -> dict:
    request = {"action": "read", "connectionString": hub.reader_connection_string(), "ends": ends} | options
    result = node(SCRIPT, request)
    assert result["errors"], f"read {len(result['events'])} events instead of being refused"
    return result["errors"][0]


def test_reads_all_messages_whole_and_in_order(everything, workload):
    assert_all_read(everything, workload.sent, workload.generations, workload.began)


def test_sequence_numbers_start_at_zero_without_gap(everything):
    assert_gap_free(everything)
    assert min(event.sequence for event in everything) == 0


def test_both_languages_see_the_same(hub, busy):
    python = read_partition(hub.reader_connection_string(), hub.ca_file, busy[0].partition, "-1", busy[-1].sequence)
    for one, other in zip(busy, python[: len(busy)], strict=True):
        assert (one.sequence, one.offset, one.enqueued_ms, one.body) == (other.sequence, other.offset, other.enqueued_ms, other.body)
        assert (one.properties, one.message_id, one.user_id) == (other.properties, other.message_id, other.user_id)


@pytest.mark.parametrize("inclusive", [False, True], ids=["exclusive", "inclusive"])
@pytest.mark.parametrize("kind", ["offset", "sequenceNumber"])
def test_reading_from(hub, node, busy, kind, inclusive):
    middle = busy[len(busy) // 2]
    position = {kind: middle.offset if kind == "offset" else middle.sequence, "isInclusive": inclusive}
    found = read(node, hub, {middle.partition: busy[-1].sequence}, startPosition=position)
    assert found[0].sequence == middle.sequence + (0 if inclusive else 1)
    assert_gap_free(found)


def test_reading_from_a_time_between_two_messages(hub, node, busy, workload):
    pause = round(workload.pause * 1000)
    found = read(node, hub, {busy[0].partition: busy[-1].sequence}, startPosition={"enqueuedOn": pause})
    assert found[0].sequence == next(event.sequence for event in busy if event.enqueued_ms > pause) > 0


def test_second_consumer_group_reads_the_same(hub, node, busy):
    hub.create_consumer_group("conformance-node")
    again = read(node, hub, {busy[0].partition: busy[-1].sequence}, group="conformance-node")
    assert [event.body for event in again[: len(busy)]] == [event.body for event in busy]


def test_last_enqueued_event_properties_are_tracked(hub, node, busy):
    request = {
        "action": "read",
        "connectionString": hub.reader_connection_string(),
        "ends": {busy[0].partition: 0},
        "trackLast": True,
    }
    last = node(SCRIPT, request)["lastEnqueued"][busy[0].partition]
    assert last["sequenceNumber"] >= busy[-1].sequence
    assert int(last["offset"]) >= int(busy[-1].offset)


def test_event_hub_and_partition_properties(hub, node, busy):
    result = node(SCRIPT, {"action": "properties", "connectionString": hub.reader_connection_string()})
    assert result["hub"]["name"] == hub.entity
    assert result["hub"]["partitionIds"] == [p["partitionId"] for p in result["partitions"]]
    partition = next(p for p in result["partitions"] if p["partitionId"] == busy[0].partition)
    assert partition["beginningSequenceNumber"] == 0
    assert partition["lastEnqueuedSequenceNumber"] >= busy[-1].sequence
    assert partition["isEmpty"] is False


def takeover(hub, node, busy, levels: list[int | None]) -> list[dict]:
    return node(
        SCRIPT,
        {
            "action": "takeover",
            "connectionString": hub.reader_connection_string(),
            "partition": busy[0].partition,
            "levels": levels,
        },
    )


def test_owners_take_over_from_equal_and_lower(hub, node, busy):
    outcomes = takeover(hub, node, busy, [1, 2, 2])
    assert [o["position"] for o in outcomes if o["result"] == "open"] == [0, 1, 2]
    lost = [o for o in outcomes if o["result"] == "error"]
    assert {o["position"] for o in lost} == {0, 1}
    assert {o["code"] for o in lost} == {"ReceiverDisconnectedError"}


def test_a_lower_owner_and_a_reader_without_level_are_refused(hub, node, busy):
    outcomes = takeover(hub, node, busy, [3, 2, None])
    assert [(o["position"], o["result"]) for o in outcomes] == [(0, "open"), (1, "error"), (2, "error")]
    assert {o["code"] for o in outcomes[1:]} == {"ReceiverDisconnectedError"}


def test_offset_beyond_the_end_is_refused(hub, node, busy):
    beyond = str(int(busy[-1].offset) + 10_000_000_000)
    error = refused(node, hub, {busy[0].partition: 0}, startPosition={"offset": beyond})
    assert "is invalid" in error["message"]


def test_emulator_mode_reads_over_the_plain_port(hub, node, busy):
    found = read(node, hub, {busy[0].partition: busy[-1].sequence}, connectionString=hub.emulator_connection_string())
    assert [event.body for event in found[: len(busy)]] == [event.body for event in busy]


def test_dotted_host_name_is_served_like_localhost(hub, node, busy):
    string = hub.reader_connection_string(host=hub.dotted_name)
    found = read(node, hub, {busy[0].partition: 0}, connectionString=string, loopbackNames=[hub.dotted_name])
    assert found[0].body == busy[0].body


def test_a_producer_is_refused(hub, node, busy):
    request = {"action": "send", "connectionString": hub.reader_connection_string(), "partition": busy[0].partition}
    result = node(SCRIPT, request)
    assert result["accepted"] is False
    assert result["code"] == "UnauthorizedError"
