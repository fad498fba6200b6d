"""qpid-proton and rhea read as plain AMQP 1.0 peers, and are sent from the hub's address to the reader's."""

import base64
import re
from collections import Counter

import pytest

import proton_peer
import tokens
from event_readers import read_everything
from telemetry import Observed

pytestmark = pytest.mark.usefixtures("workload")

FRAME_SIZES = [512, 4096]


@pytest.fixture(scope="module")
def partition(hub, workload) -> list[Observed]:
    """The fullest partition as the Event Hubs client saw it: what the peers have to see as well."""
    everything = read_everything(hub.reader_connection_string(), hub.ca_file)
    fullest, _ = Counter(event.partition for event in everything).most_common(1)[0]
    return [event for event in everything if event.partition == fullest]


def source(hub, partition: list[Observed]) -> str:
    return f"{hub.entity}/ConsumerGroups/$Default/Partitions/{partition[0].partition}"


def policy_token(hub, resource: str | None = None) -> str:
    return tokens.signature_token(resource or hub.host_name, hub.policy.key, policy=hub.policy.name)


def plain_user(hub) -> str:
    return f"{hub.policy.name}@sas.root.{hub.label}"


def from_sequence(event: Observed) -> str:
    return f"amqp.annotation.x-opt-sequence-number >= '{event.sequence}'"


def by_proton(hub, address: str, *, cbs: bool = False, **options: object) -> proton_peer.Outcome:
    credentials: dict = {"user": plain_user(hub), "password": policy_token(hub)}
    if cbs:
        audience = f"sb://{hub.host_name}/{hub.entity}"
        credentials = {"cbs_token": policy_token(hub, audience), "cbs_audience": audience}
    request = proton_peer.Request(hub.port("amqp"), hub.ca_file, hub.host_name, address, **(credentials | options))
    return proton_peer.receive(request)


def by_rhea(node, hub, address: str, *, cbs: bool = False, **options: object) -> dict:
    request: dict = {"user": plain_user(hub), "password": policy_token(hub)}
    if cbs:
        audience = f"sb://{hub.host_name}/{hub.entity}"
        request = {"cbsToken": policy_token(hub, audience), "cbsAudience": audience}
    request |= {"port": hub.port("amqp"), "caFile": hub.ca_file, "virtualHost": hub.host_name, "address": address}
    return node("rhea_peer.js", request | options)


def proton_bodies(outcome: proton_peer.Outcome) -> list[bytes]:
    assert outcome.condition is None, f"{outcome.where}: {outcome.condition} {outcome.description}"
    return [bytes(message.body) for message in outcome.messages]


def rhea_bodies(outcome: dict) -> list[bytes]:
    assert outcome["error"] is None, outcome["error"]
    return [base64.b64decode(body) for body in outcome["bodies"]]


@pytest.mark.parametrize("cbs", [False, True], ids=["sasl-plain", "cbs"])
def test_proton_reads_a_partition(hub, partition, cbs):
    outcome = by_proton(hub, source(hub, partition), cbs=cbs, credit=1000, stop_after=len(partition))
    assert proton_bodies(outcome) == [event.body for event in partition]
    first = outcome.messages[0].annotations
    assert first["x-opt-sequence-number"] == partition[0].sequence
    assert first["x-opt-offset"] == partition[0].offset
    assert first["iothub-connection-device-id"] == partition[0].device


@pytest.mark.parametrize("cbs", [False, True], ids=["sasl-plain", "cbs"])
def test_rhea_reads_a_partition(hub, node, partition, cbs):
    outcome = by_rhea(node, hub, source(hub, partition), cbs=cbs, credit=1000, stopAfter=len(partition))
    assert rhea_bodies(outcome) == [event.body for event in partition]
    assert outcome["sequences"] == [event.sequence for event in partition]


@pytest.mark.parametrize("size", FRAME_SIZES)
def test_proton_reads_messages_longer_than_its_frames(hub, partition, size):
    outcome = by_proton(hub, source(hub, partition), max_frame_size=size, stop_after=20)
    assert proton_bodies(outcome)[:20] == [event.body for event in partition[:20]]
    assert any(len(event.body) > size for event in partition[:20])


@pytest.mark.parametrize("size", FRAME_SIZES)
def test_rhea_reads_messages_longer_than_its_frames(hub, node, partition, size):
    outcome = by_rhea(node, hub, source(hub, partition), maxFrameSize=size, stopAfter=20)
    assert rhea_bodies(outcome)[:20] == [event.body for event in partition[:20]]


def test_proton_gets_one_message_for_one_credit(hub, partition):
    outcome = by_proton(hub, source(hub, partition), credit=1, stop_after=20)
    assert proton_bodies(outcome) == [event.body for event in partition[:20]]
    assert set(outcome.credit_left) == {0}


def test_rhea_gets_one_message_for_one_credit(hub, node, partition):
    outcome = by_rhea(node, hub, source(hub, partition), credit=1, stopAfter=20)
    assert rhea_bodies(outcome) == [event.body for event in partition[:20]]


def test_proton_drains_at_the_end_of_the_stream(hub, partition):
    selector = from_sequence(partition[-3])
    outcome = by_proton(hub, source(hub, partition), credit=5000, drain=True, selector=selector)
    assert outcome.drained
    assert proton_bodies(outcome)[:3] == [event.body for event in partition[-3:]]


def test_rhea_drains_at_the_end_of_the_stream(hub, node, partition):
    selector = from_sequence(partition[-3])
    outcome = by_rhea(node, hub, source(hub, partition), credit=2000, drain=True, selector=selector)
    assert outcome["drained"]
    assert outcome["creditLeft"] == 0
    assert rhea_bodies(outcome)[:3] == [event.body for event in partition[-3:]]


def test_unquoted_selector_of_older_clients_is_understood(hub, partition):
    selector = f"amqp.annotation.x-opt-sequence-number > {partition[4].sequence}"
    outcome = by_proton(hub, source(hub, partition), selector=selector, stop_after=1)
    assert proton_bodies(outcome)[0] == partition[5].body


def test_a_selector_that_is_none_of_the_known_ones_is_refused(hub, partition):
    outcome = by_proton(hub, source(hub, partition), selector="colour = 'red'", stop_after=1)
    assert (outcome.where, outcome.condition) == ("link", "com.microsoft:argument-error")


REDIRECTED = ["messages/events/$management", "messages/events/ConsumerGroups/$Default/Partitions/0"]


@pytest.mark.parametrize("path", REDIRECTED)
def test_proton_is_redirected_from_the_address_of_the_hub(hub, path):
    token = policy_token(hub, f"{hub.host_name}/messages/events")
    outcome = by_proton(hub, f"amqps://{hub.host_name}/{path}", password=token)
    assert (outcome.where, outcome.condition) == ("link", "amqp:link:redirect")
    check_redirect(hub, outcome.info, path)


@pytest.mark.parametrize("path", REDIRECTED)
def test_rhea_is_redirected_from_the_address_of_the_hub(hub, node, path):
    outcome = by_rhea(node, hub, f"amqps://{hub.host_name}/{path}")
    assert outcome["error"]["condition"] == "amqp:link:redirect"
    check_redirect(hub, outcome["error"]["info"], path)


def check_redirect(hub, info: dict, path: str) -> None:
    assert info["hostname"]
    assert info["network-host"] == info["hostname"]
    # The pattern that the published samples cut the name of the Event Hub out with.
    found = re.search(r":\d+/([^/]*)/(.*)$", info["address"])
    assert found and found[1] == hub.entity
    assert found[2] == path.removeprefix("messages/events/")
    assert f":{int(info['port'])}/" in info["address"]


def test_plain_with_a_wrong_key_fails_in_sasl_and_is_recorded(hub, partition):
    known = hub.known_records()
    forged = tokens.signature_token(hub.host_name, tokens.new_key(), policy=hub.policy.name)
    outcome = by_proton(hub, source(hub, partition), password=forged)
    assert outcome.where == "transport"
    assert "unauthorized" in outcome.condition
    assert not outcome.messages
    hub.await_record("refused", "signature|key", known=known)


def test_cbs_with_a_wrong_key_answers_401_and_is_recorded(hub, partition):
    known = hub.known_records()
    audience = f"sb://{hub.host_name}/{hub.entity}"
    forged = tokens.signature_token(audience, tokens.new_key(), policy=hub.policy.name)
    outcome = by_proton(hub, source(hub, partition), cbs=True, cbs_token=forged)
    assert outcome.cbs_status == 401
    hub.await_record("refused", "signature|key", known=known)


def test_cbs_keeps_the_correlation_of_the_request(hub, node, partition):
    outcome = by_rhea(node, hub, source(hub, partition), cbs=True, stopAfter=1)
    assert (outcome["cbsStatus"], outcome["cbsCorrelation"]) == (200, "put-1")


def test_reading_without_a_credential_is_refused(hub, partition):
    known = hub.known_records()
    outcome = by_proton(hub, source(hub, partition), user=None, password=None)
    assert (outcome.where, outcome.condition) == ("link", "amqp:unauthorized-access")
    hub.await_record("refused", "right|token|credential|unauthorized", known=known)


def test_a_device_credential_does_not_read(hub, device, partition):
    token = tokens.device_token(hub.host_name, device.id, device.key)
    outcome = by_proton(hub, source(hub, partition), user=f"{device.id}@sas.{hub.label}", password=token)
    assert (outcome.where, outcome.condition) == ("link", "amqp:unauthorized-access")
