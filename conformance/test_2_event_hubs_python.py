"""`azure-eventhub` reads what the devices sent: whole, from any position, under every rule of ownership."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from event_readers import OpenReader, last_sequences, read_everything, read_everything_async, read_partition
from telemetry import Observed, assert_all_read, assert_gap_free

pytestmark = pytest.mark.usefixtures("workload")

RECEIVERS_PER_PARTITION = 5


@pytest.fixture(scope="module")
def reading(hub) -> str:
    return hub.reader_connection_string()


@pytest.fixture(scope="module")
def everything(hub, reading, workload) -> list[Observed]:
    return read_everything(reading, hub.ca_file)


@pytest.fixture(scope="module")
def busy(everything, workload) -> list[Observed]:
    """The events of the partition that holds most, in order."""
    by_partition: dict[str, list[Observed]] = {}
    for event in everything:
        by_partition.setdefault(event.partition, []).append(event)
    return max(by_partition.values(), key=len)


def test_sync_client_reads_all_messages_whole_and_in_order(everything, workload):
    assert_all_read(everything, workload.sent, workload.generations, workload.began)


def test_async_client_reads_all_messages_whole_and_in_order(hub, reading, workload):
    assert_all_read(read_everything_async(reading, hub.ca_file), workload.sent, workload.generations, workload.began)


def test_devices_are_spread_over_partitions(everything, workload):
    partitions = {event.partition for event in everything if event.device in workload.sent}
    assert len(partitions) >= 2


def test_sequence_numbers_start_at_zero_without_gap(everything):
    assert_gap_free(everything)
    firsts = {}
    for event in everything:
        firsts.setdefault(event.partition, event.sequence)
    assert set(firsts.values()) == {0}


def test_messages_without_system_properties_come_without_a_properties_section(everything, workload):
    bare = [event for event in everything if event.device in workload.sent and b"|\x00" in event.body]
    assert bare
    assert all(event.message_id is None and event.content_type is None for event in bare)


def test_second_consumer_group_reads_the_same(hub, reading, everything, busy):
    hub.create_consumer_group("conformance-second")
    again = read_partition(
        reading, hub.ca_file, busy[0].partition, "-1", busy[-1].sequence, group="conformance-second"
    )
    assert [event.body for event in again[: len(busy)]] == [event.body for event in busy]


def test_consumer_group_names_compare_without_case(hub, reading, busy):
    again = read_partition(reading, hub.ca_file, busy[0].partition, "-1", busy[0].sequence, group="$default")
    assert again[0].body == busy[0].body


def test_unknown_consumer_group_is_refused(hub, reading, busy):
    with OpenReader(reading, hub.ca_file, busy[0].partition, group="never-created") as reader:
        assert "could not be found" in str(reader.error())


def test_unknown_partition_is_refused(hub, reading, busy):
    with OpenReader(reading, hub.ca_file, "99") as reader:
        assert reader.error()
        assert not reader.events


@pytest.mark.parametrize("inclusive", [False, True], ids=["exclusive", "inclusive"])
@pytest.mark.parametrize("kind", ["offset", "sequence-number"])
def test_reading_from(hub, reading, busy, kind, inclusive):
    middle = len(busy) // 2
    start = busy[middle].offset if kind == "offset" else busy[middle].sequence
    read = read_partition(reading, hub.ca_file, busy[0].partition, start, busy[-1].sequence, inclusive=inclusive)
    assert read[0].sequence == busy[middle].sequence + (0 if inclusive else 1)
    assert_gap_free(read)


@pytest.mark.parametrize("inclusive", [False, True], ids=["exclusive", "inclusive"])
def test_reading_from_an_enqueued_time(hub, reading, busy, inclusive):
    moment = busy[len(busy) // 2].enqueued_ms
    start = datetime.fromtimestamp(moment / 1000, UTC)
    read = read_partition(reading, hub.ca_file, busy[0].partition, start, busy[-1].sequence, inclusive=inclusive)
    expected = next(e for e in busy if (e.enqueued_ms >= moment if inclusive else e.enqueued_ms > moment))
    assert read[0].sequence == expected.sequence


def test_reading_from_a_time_between_two_messages(hub, reading, busy, workload):
    start = datetime.fromtimestamp(workload.pause, UTC)
    read = read_partition(reading, hub.ca_file, busy[0].partition, start, busy[-1].sequence)
    expected = next(e for e in busy if e.enqueued_ms > workload.pause * 1000)
    assert 0 < expected.sequence
    assert read[0].sequence == expected.sequence


def test_offset_beyond_the_end_is_refused(hub, reading, busy):
    beyond = str(int(busy[-1].offset) + 10_000_000_000)
    with OpenReader(reading, hub.ca_file, busy[0].partition, beyond) as reader:
        assert "is invalid" in str(reader.error())


def test_latest_reads_only_what_comes_afterwards(hub, reading, device, tail):
    with device.connected() as peer:
        peer.publish(device.topic(), b"before")
        partition = tail.of_device(device.id, 1)[0].partition
        with OpenReader(reading, hub.ca_file, partition, "@latest") as reader:
            # The client does not say when its link is open: messages are sent until one arrives.
            for number in range(100):
                peer.publish(device.topic(), f"after {number}".encode(), packet_id=number + 2)
                if reader.wait(lambda r: r.events or r.errors, timeout_secs=0.2):
                    break
            first = reader.first_event()
    assert first.body.startswith(b"after ")
    assert all(event.body != b"before" for event in reader.events)
    assert_gap_free(reader.events)


def test_last_enqueued_event_properties_are_tracked(hub, reading, busy):
    partition, last = busy[0].partition, busy[-1]
    with OpenReader(reading, hub.ca_file, partition, "-1", track_last=True) as reader:
        reader.first_event()
        newest = reader.last_enqueued[0]
    assert newest["sequence_number"] >= last.sequence
    assert int(newest["offset"]) >= int(last.offset)
    assert newest["enqueued_time"].timestamp() * 1000 >= last.enqueued_ms - 1
    assert abs(newest["retrieval_time"].timestamp() - time.time()) < 120


def test_event_hub_and_partition_properties(hub, reading, busy):
    with EventHubConsumerClient.from_connection_string(reading, "$Default", connection_verify=hub.ca_file) as client:
        properties = client.get_eventhub_properties()
        assert properties["eventhub_name"] == hub.entity
        assert properties["partition_ids"] == [str(n) for n in range(len(properties["partition_ids"]))]
        assert abs(properties["created_at"].timestamp() - time.time()) < 3600
        partition = client.get_partition_properties(busy[0].partition)
    assert partition["eventhub_name"] == hub.entity
    assert partition["id"] == busy[0].partition
    assert partition["beginning_sequence_number"] == 0
    assert partition["last_enqueued_sequence_number"] >= busy[-1].sequence
    assert int(partition["last_enqueued_offset"]) >= int(busy[-1].offset)
    assert partition["is_empty"] is False


def test_a_higher_owner_takes_over(hub, reading, busy):
    partition = busy[0].partition
    with OpenReader(reading, hub.ca_file, partition, owner_level=1) as lower:
        lower.first_event()
        with OpenReader(reading, hub.ca_file, partition, owner_level=2) as higher:
            higher.first_event()
            assert "higher epoch" in str(lower.error())
            assert not higher.errors


def test_an_equal_owner_takes_over(hub, reading, busy):
    partition = busy[0].partition
    with OpenReader(reading, hub.ca_file, partition, owner_level=0) as first:
        first.first_event()
        with OpenReader(reading, hub.ca_file, partition, owner_level=0) as second:
            second.first_event()
            assert "epoch" in str(first.error())


def test_a_lower_owner_is_refused(hub, reading, busy):
    partition = busy[0].partition
    with OpenReader(reading, hub.ca_file, partition, owner_level=5) as higher:
        higher.first_event()
        with OpenReader(reading, hub.ca_file, partition, owner_level=4) as lower:
            assert "higher epoch" in str(lower.error())
            assert not lower.events
        assert not higher.errors


def test_a_reader_without_owner_level_is_refused_beside_an_owner(hub, reading, busy):
    partition = busy[0].partition
    with OpenReader(reading, hub.ca_file, partition, owner_level=0) as owner:
        owner.first_event()
        with OpenReader(reading, hub.ca_file, partition) as plain:
            assert "non-epoch receiver is not allowed" in str(plain.error())
        assert not owner.errors


def test_an_owner_ends_readers_without_owner_level(hub, reading, busy):
    partition = busy[0].partition
    with OpenReader(reading, hub.ca_file, partition) as plain:
        plain.first_event()
        with OpenReader(reading, hub.ca_file, partition, owner_level=0) as owner:
            owner.first_event()
            assert plain.error()


def test_an_owner_of_one_group_leaves_other_groups_alone(hub, reading, busy):
    hub.create_consumer_group("conformance-owner")
    partition = busy[0].partition
    with OpenReader(reading, hub.ca_file, partition) as plain:
        plain.first_event()
        with OpenReader(reading, hub.ca_file, partition, group="conformance-owner", owner_level=9) as owner:
            owner.first_event()
            assert not plain.wait(lambda r: r.errors, timeout_secs=1)


def test_the_sixth_receiver_is_refused_and_a_freed_place_can_be_taken(hub, reading, busy):
    partition = busy[0].partition
    with ExitStack() as stack:
        readers = [stack.enter_context(OpenReader(reading, hub.ca_file, partition)) for _ in range(RECEIVERS_PER_PARTITION)]
        for reader in readers:
            reader.first_event()
        with OpenReader(reading, hub.ca_file, partition) as sixth:
            assert "maximum number of allowed receivers" in str(sixth.error())
        readers[0].close()
        with OpenReader(reading, hub.ca_file, partition) as replacement:
            replacement.first_event()


def test_emulator_mode_reads_over_the_plain_port(hub, reading, busy):
    string = hub.emulator_connection_string()
    assert last_sequences(string, None)[busy[0].partition] >= busy[-1].sequence
    read = read_partition(string, None, busy[0].partition, "-1", busy[-1].sequence)
    assert [event.body for event in read[: len(busy)]] == [event.body for event in busy]


def test_dotted_host_name_is_served_like_localhost(hub, busy, loopback_names):
    loopback_names(hub.dotted_name)
    string = hub.reader_connection_string(host=hub.dotted_name)
    assert last_sequences(string, hub.ca_file)[busy[0].partition] >= busy[-1].sequence


def test_a_producer_is_refused(hub, reading, busy):
    producer = EventHubProducerClient.from_connection_string(reading, connection_verify=hub.ca_file, retry_total=0)
    with producer, pytest.raises(EventHubError, match="(?i)unauthorized|'Send' claim"):
        producer.send_batch([EventData("must not arrive")], partition_id=busy[0].partition)


def test_a_wrong_policy_key_is_refused_and_recorded(hub, reading):
    known = hub.known_records()
    forged = reading.replace(hub.policy.key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    client = EventHubConsumerClient.from_connection_string(
        forged, "$Default", connection_verify=hub.ca_file, retry_total=0, auth_timeout=10
    )
    with client, pytest.raises(EventHubError):
        client.get_partition_ids()
    hub.await_record("refused", "signature|key", known=known)
