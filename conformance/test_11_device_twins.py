"""The device's side of its twin through `azure-iot-device`, as a device and as a module."""

import pytest
from azure.iot.device.exceptions import ClientError, ServiceError

from back_end import own
from twin_sections import DEPTH_MAX, EVERY_KIND, STRING_BYTES_MAX, nested, section_of


def test_a_fresh_twin_is_two_empty_sections(client):
    assert client.get_twin() == {"desired": {"$version": 1}, "reported": {"$version": 1}}


def test_every_kind_of_value_is_reported_and_read_back(client, back_end):
    client.report(EVERY_KIND)
    assert client.get_twin()["reported"] == EVERY_KIND | {"$version": 2}
    reported = back_end.twin().properties.reported
    assert own(reported) == EVERY_KIND
    assert reported["$version"] == 2


def test_a_report_merges_objects_and_replaces_everything_else(client):
    client.report({"keep": 1, "object": {"a": 1, "b": {"c": 1}}, "list": [1, 2, 3], "turns": {"into": "text"}})
    client.report({"object": {"b": {"d": 2}}, "list": [4], "turns": "text"})
    expected = {"keep": 1, "object": {"a": 1, "b": {"c": 1, "d": 2}}, "list": [4], "turns": "text", "$version": 3}
    assert client.get_twin()["reported"] == expected


def test_null_removes_a_reported_property_at_any_depth(client):
    client.report({"top": 1, "object": {"a": 1, "b": {"c": 1}}})
    client.report({"top": None, "object": {"b": {"c": None}}, "never-there": None})
    assert client.get_twin()["reported"] == {"object": {"a": 1, "b": {}}, "$version": 3}


def test_every_report_moves_the_version_by_one(client):
    for number in range(1, 6):
        client.report({"number": number})
        assert client.get_twin()["reported"] == {"number": number, "$version": number + 1}
    client.report({})
    assert client.get_twin()["reported"]["$version"] == 7


def test_a_report_that_breaks_a_limit_is_refused_and_changes_nothing(client):
    client.report({"kept": True})
    text = "x" * (STRING_BYTES_MAX + 1)
    for broken in ({"a b": 1}, {"a": text}, {"a": [None]}, nested(DEPTH_MAX + 1), section_of(32_800)):
        with pytest.raises(ClientError) as caught:
            client.report(broken)
        assert isinstance(caught.value.__cause__, ServiceError), "the client did not get an answer"
    assert client.get_twin()["reported"] == {"kept": True, "$version": 2}


def test_desired_changes_arrive_with_their_version(client, back_end):
    client.listen_for_desired()
    back_end.patch(desired=EVERY_KIND)
    assert client.next_patch() == EVERY_KIND | {"$version": 2}
    back_end.patch(desired={"nested": {"a": None}, "zero": None})
    assert client.next_patch() == {"nested": {"a": None}, "zero": None, "$version": 3}
    desired = client.get_twin()["desired"]
    assert desired == {name: value for name, value in EVERY_KIND.items() if name != "zero"} | {"nested": {}, "$version": 3}


def test_a_replacement_arrives_as_the_whole_new_section(client, back_end):
    back_end.patch(desired={"old": 1, "both": {"x": 1}})
    client.listen_for_desired()
    back_end.replace(desired={"both": {"y": 2}})
    assert client.next_patch() == {"both": {"y": 2}, "$version": 3}
    assert client.get_twin()["desired"] == {"both": {"y": 2}, "$version": 3}


def test_only_desired_changes_are_told_to_the_device(client, back_end):
    client.listen_for_desired()
    back_end.patch(tags={"site": "north"})
    client.report({"by": "the device"})
    back_end.patch(desired={"last": True})
    assert client.next_patch() == {"last": True, "$version": 2}
    assert client.patches.empty()


def test_a_burst_of_changes_arrives_complete_and_in_order(client, back_end):
    client.listen_for_desired()
    for number in range(20):
        back_end.patch(desired={"number": number})
    assert [client.next_patch() for _ in range(20)] == [{"number": n, "$version": n + 2} for n in range(20)]
