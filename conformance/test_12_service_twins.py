"""The back end's side of twins through `azure-iot-hub`: writes, ETags, conflicts, metadata, limits."""

import base64

import pytest

from back_end import own, refusal, refused
from service_http import ServiceHttp
from twin_sections import DEPTH_MAX, SECTION_BYTES_MAX, STRING_BYTES_MAX, nested, section_of


def test_a_fresh_twin_has_the_form_of_the_service(identity, back_end):
    twin = back_end.twin()
    assert (twin.device_id, twin.module_id) == (identity.id, identity.module)
    assert base64.b64decode(twin.etag) == (1).to_bytes(8, "big")
    assert twin.version == 2
    assert twin.tags is None
    for section in (twin.properties.desired, twin.properties.reported):
        assert section["$version"] == 1
        assert set(section) == {"$version", "$metadata"}
        assert set(section["$metadata"]) == {"$lastUpdated"}
    assert (twin.status, twin.connection_state, twin.cloud_to_device_message_count) == ("enabled", "Disconnected", 0)
    assert twin.authentication_type == "sas"


def test_the_device_etag_is_that_of_the_identity(registry, device, module):
    assert device.back_end().twin().device_etag == registry.get_device(device.id).etag
    assert module.back_end().twin().device_etag == registry.get_module(device.id, module.module).etag


def test_twins_of_a_device_and_its_modules_are_apart(device, module):
    device.back_end().patch(desired={"who": "device"}, tags={"who": "device"})
    module.back_end().patch(desired={"who": "module"})
    assert own(device.back_end().twin().properties.desired) == {"who": "device"}
    of_module = module.back_end().twin()
    assert own(of_module.properties.desired) == {"who": "module"}
    assert of_module.tags is None


def test_a_patch_merges_and_null_removes(back_end):
    back_end.patch(desired={"a": {"b": 1, "c": 2}, "d": [1, 2]}, tags={"site": {"hall": 1, "row": 2}})
    twin = back_end.patch(desired={"a": {"b": None, "e": 3}, "d": [3]}, tags={"site": {"hall": None}})
    assert own(twin.properties.desired) == {"a": {"c": 2, "e": 3}, "d": [3]}
    assert twin.tags == {"site": {"row": 2}}
    assert back_end.patch(tags={"site": None}).tags == {}


def test_a_replacement_keeps_what_the_device_reported(client, back_end):
    client.report({"mine": 1})
    back_end.patch(desired={"old": 1}, tags={"old": 1})
    twin = back_end.replace(desired={"new": 2}, tags={"new": 2})
    assert (own(twin.properties.desired), twin.tags, own(twin.properties.reported)) == ({"new": 2}, {"new": 2}, {"mine": 1})
    emptied = back_end.replace()
    assert own(emptied.properties.desired) == {}
    assert not emptied.tags
    assert own(emptied.properties.reported) == {"mine": 1}


def test_metadata_names_when_and_in_which_version_each_part_changed(back_end):
    first = back_end.patch(desired={"a": {"b": 1, "c": 1}, "list": [1]}).properties.desired
    second = back_end.patch(desired={"a": {"b": 2}}).properties.desired
    assert (first["$version"], second["$version"]) == (2, 3)
    stamps = second["$metadata"]
    assert stamps["$lastUpdatedVersion"] == 3
    assert stamps["a"]["$lastUpdatedVersion"] == 3
    assert stamps["a"]["b"]["$lastUpdatedVersion"] == 3
    assert stamps["a"]["c"] == first["$metadata"]["a"]["c"]
    assert stamps["list"] == first["$metadata"]["list"]
    assert stamps["a"]["c"]["$lastUpdatedVersion"] == stamps["list"]["$lastUpdatedVersion"] == 2
    assert stamps["a"]["b"]["$lastUpdated"].endswith("Z")


def test_removing_a_property_stamps_its_ancestors(back_end):
    back_end.patch(desired={"a": {"b": 1, "c": 1}})
    stamps = back_end.patch(desired={"a": {"b": None}}).properties.desired["$metadata"]
    assert stamps["$lastUpdatedVersion"] == stamps["a"]["$lastUpdatedVersion"] == 3
    assert stamps["a"]["c"]["$lastUpdatedVersion"] == 2
    assert "b" not in stamps["a"]


def test_reported_metadata_has_no_versions(client, back_end):
    client.report({"a": {"b": 1}})
    stamps = back_end.twin().properties.reported["$metadata"]
    assert set(stamps) == {"$lastUpdated", "a"}
    assert set(stamps["a"]) == {"$lastUpdated", "b"}
    assert set(stamps["a"]["b"]) == {"$lastUpdated"}


def test_versions_and_etag_follow_each_kind_of_write(client, back_end):
    def state() -> tuple[int, int, int, int]:
        twin = back_end.twin()
        sections = twin.properties
        etag = int.from_bytes(base64.b64decode(twin.etag), "big")
        return twin.version, sections.desired["$version"], sections.reported["$version"], etag

    assert state() == (2, 1, 1, 1)
    back_end.patch(desired={"a": 1})
    assert state() == (3, 2, 1, 2)
    back_end.patch(desired={"a": 1})
    assert state() == (4, 3, 1, 3), "a patch that changes nothing counts as well"
    back_end.patch(tags={"a": 1})
    assert state()[1:] == (3, 1, 4)
    client.report({"a": 1})
    assert state()[1:3] == (3, 2)


def test_a_write_with_the_current_etag_moves_it(back_end):
    first = back_end.twin().etag
    second = back_end.patch(desired={"a": 1}, etag=first).etag
    third = back_end.replace(desired={"b": 1}, etag=second).etag
    assert len({first, second, third}) == 3
    assert back_end.twin().etag == third


def test_a_write_with_a_stale_etag_changes_nothing(back_end):
    stale = back_end.twin().etag
    back_end.patch(desired={"a": 1}, tags={"t": 1})
    for write in (back_end.patch, back_end.replace):
        response = refused(write, desired={"a": 2}, tags={"t": 2}, etag=stale)
        assert (response.status_code, response.headers["iothub-errorcode"]) == (412, "PreconditionFailed")
        assert f"ErrorCode:PreconditionFailed;ETag mismatch for device ID '{back_end.device}'" in response.json()["Message"]
    twin = back_end.twin()
    assert (own(twin.properties.desired), twin.tags) == ({"a": 1}, {"t": 1})
    assert twin.properties.desired["$version"] == 2


def test_reports_do_not_make_the_etag_of_a_back_end_stale(client, back_end):
    etag = back_end.twin().etag
    client.report({"a": 1})
    assert own(back_end.patch(desired={"a": 2}, etag=etag).properties.desired) == {"a": 2}


def test_a_whole_twin_can_be_sent_back(back_end):
    back_end.patch(desired={"a": 1}, tags={"t": 1})
    twin = back_end.twin()
    twin.properties.desired["a"] = 2
    twin.properties.reported["forged"] = True
    call = back_end.registry.update_module_twin if back_end.module else back_end.registry.update_twin
    updated = call(*back_end.identity, twin, twin.etag)
    assert own(updated.properties.desired) == {"a": 2}
    assert own(updated.properties.reported) == {}
    assert updated.properties.desired["$version"] == 3


def test_a_section_that_is_null_is_emptied(hub, device):
    device.back_end().patch(desired={"a": 1}, tags={"t": 1})
    twin = ServiceHttp(hub).json("PATCH", f"/twins/{device.id}", {"tags": None, "properties": {"desired": None}})
    assert own(twin["properties"]["desired"]) == {}
    assert not twin.get("tags")


def test_numbers_keep_their_spelling(hub, device):
    body = b'{"properties":{"desired":{"whole":1,"real":1.0,"exponent":1.5e3,"large":4503599627370495}}}'
    answer = ServiceHttp(hub).call("PATCH", f"/twins/{device.id}", data=body)
    assert answer.status_code == 200, answer.text
    for spelling in ('"whole":1,', '"real":1.0', '"large":4503599627370495'):
        assert spelling in answer.text.replace(": ", ":")


def test_the_twin_of_an_unknown_identity_is_not_found(registry, device):
    assert refusal(registry.get_twin, f"{device.id}-ghost") == (404, "DeviceNotFound")
    assert refusal(registry.get_module_twin, device.id, "ghost") == (404, "DeviceNotFound")


def test_a_device_created_again_has_a_fresh_twin(registry, device):
    device.back_end().patch(desired={"a": 1}, tags={"t": 1})
    registry.delete_device(device.id)
    assert refusal(registry.get_twin, device.id) == (404, "DeviceNotFound")
    registry.create_device_with_sas(device.id, "", "", "enabled")
    twin = registry.get_twin(device.id)
    assert (twin.version, own(twin.properties.desired), twin.tags) == (2, {}, None)


def test_the_twin_tells_whether_its_device_is_connected(client, back_end):
    client.get_twin()
    assert back_end.twin().connection_state == "Connected"


@pytest.mark.parametrize("section", SECTION_BYTES_MAX)
def test_a_section_may_have_its_full_size_and_no_byte_more(device, section):
    back_end, size = device.back_end(), SECTION_BYTES_MAX[section]
    response = refused(back_end.patch, **{section: section_of(size + 1)})
    assert (response.status_code, response.headers["iothub-errorcode"]) == (403, "DeviceModelMaxPropertiesExceeded")
    assert f"size should be less than {size} bytes" in response.json()["Message"]
    back_end.patch(**{section: section_of(size - 1)})


BROKEN = {
    "key with a space": {"a b": 1},
    "key with a dot": {"a.b": 1},
    "key with a dollar sign": {"a$b": 1},
    "key with a control character": {"a\x01b": 1},
    "key over 1,024 bytes": {"k" * 1_025: 1},
    "string over 4,096 bytes": {"a": "x" * (STRING_BYTES_MAX + 1)},
    "string over 4,096 bytes in UTF-8": {"a": "ü" * (STRING_BYTES_MAX // 2 + 1)},
    "null in a list": {"a": [1, None]},
    "integer too large": {"a": 4503599627370496},
    "integer too small": {"a": -4503599627370497},
    "eleven levels": nested(DEPTH_MAX + 1),
}


@pytest.mark.parametrize("desired", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_desired_section_is_refused(device, desired):
    assert refusal(device.back_end().patch, desired=desired) == (400, "ArgumentInvalid")
    assert device.back_end().twin().properties.desired["$version"] == 1


@pytest.mark.parametrize(
    "desired",
    [{"k" * 1_024: 1}, {"a": "x" * STRING_BYTES_MAX}, nested(DEPTH_MAX), {"a": 4503599627370495, "b": -4503599627370496}],
    ids=["key of 1,024 bytes", "string of 4,096 bytes", "ten levels", "outermost integers"],
)
def test_the_last_value_within_a_limit_is_taken(device, desired):
    assert own(device.back_end().patch(desired=desired).properties.desired) == desired


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b'{"properties":{"desired":[]}}', b'{"tags":5}'])
def test_a_body_that_is_no_twin_is_refused(hub, device, body):
    answer = ServiceHttp(hub).call("PATCH", f"/twins/{device.id}", data=body)
    assert answer.status_code == 400, answer.text
    assert f"ErrorCode:{answer.headers['iothub-errorcode']};" in answer.json()["Message"]
