"""`azure-iot-hub` manages identities over HTTPS, and a device can use what it was given."""

import base64
import time
import uuid

import pytest
import requests
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import ExportImportDevice
from azure.iot.hub.protocol.models import AuthenticationMechanism, SymmetricKey
from msrest.exceptions import HttpOperationError

import device_sdk
import tokens
from telemetry import Sent


@pytest.fixture
def name() -> str:
    return f"registry-{uuid.uuid4().hex[:12]}"


def refusal(call, *arguments) -> tuple[int, str]:
    """Status and error name of a refused call; the header and the body have to agree on the name."""
    with pytest.raises(HttpOperationError) as caught:
        call(*arguments)
    response = caught.value.response
    error_name = response.headers["iothub-errorcode"]
    assert f"ErrorCode:{error_name};" in response.json()["Message"]
    assert response.headers["x-ms-request-id"]
    return response.status_code, error_name


def bulk_entry(device_id: str, mode: str, key: str | None = None) -> ExportImportDevice:
    keys = SymmetricKey(primary_key=key or tokens.new_key(), secondary_key=tokens.new_key())
    authentication = AuthenticationMechanism(type="sas", symmetric_key=keys)
    return ExportImportDevice(id=device_id, import_mode=mode, status="enabled", authentication=authentication)


def test_create_keeps_the_given_keys(registry, name):
    primary, secondary = tokens.new_key(), tokens.new_key()
    created = registry.create_device_with_sas(name, primary, secondary, "enabled", status_reason="first")
    read = registry.get_device(name)
    assert (read.device_id, read.status, read.status_reason) == (name, "enabled", "first")
    assert read.authentication.symmetric_key.primary_key == primary
    assert read.authentication.symmetric_key.secondary_key == secondary
    assert read.authentication.type == "sas"
    assert (read.etag, read.generation_id) == (created.etag, created.generation_id)
    assert read.connection_state == "Disconnected"
    assert read.cloud_to_device_message_count == 0
    assert read.capabilities.iot_edge is False


def test_create_without_keys_generates_two(registry, hub, name, tail):
    created = registry.create_device_with_sas(name, "", "", "enabled")
    keys = created.authentication.symmetric_key
    assert keys.primary_key != keys.secondary_key
    assert [len(base64.b64decode(key)) for key in (keys.primary_key, keys.secondary_key)] == [32, 32]
    for number, key in enumerate((keys.primary_key, keys.secondary_key)):
        device_sdk.send(hub.device_connection_string(name, key), [Sent(name, number, b"%d" % number)], hub.ca_file)
    assert [event.body for event in tail.of_device(name, 2)] == [b"0", b"1"]


def test_generation_id_and_etag_have_the_form_of_the_service(registry, name):
    created = registry.create_device_with_sas(name, "", "", "enabled")
    assert created.generation_id.isdigit() and len(created.generation_id) == 18
    assert base64.b64decode(created.etag).isdigit()


def test_create_twice_is_a_conflict(registry, name):
    registry.create_device_with_sas(name, "", "", "enabled")
    again = refusal(registry.create_device_with_sas, name, "", "", "enabled")
    assert again == (409, "DeviceAlreadyExists")


def test_get_of_an_unknown_device_is_not_found(registry, name):
    assert refusal(registry.get_device, name) == (404, "DeviceNotFound")


def test_ids_are_case_sensitive(registry, name):
    registry.create_device_with_sas(name, "", "", "enabled")
    assert refusal(registry.get_device, name.upper()) == (404, "DeviceNotFound")


def test_update_with_the_current_etag_moves_it_and_keeps_the_generation(registry, name):
    created = registry.create_device_with_sas(name, "", "", "enabled")
    key = tokens.new_key()
    updated = registry.update_device_with_sas(name, created.etag, key, key, "disabled", status_reason="holiday")
    read = registry.get_device(name)
    assert (read.status, read.status_reason) == ("disabled", "holiday")
    assert read.authentication.symmetric_key.primary_key == key
    assert read.etag == updated.etag != created.etag
    assert read.generation_id == created.generation_id


def test_update_with_a_stale_etag_changes_nothing(registry, name):
    created = registry.create_device_with_sas(name, "", "", "enabled")
    key = tokens.new_key()
    current = registry.update_device_with_sas(name, created.etag, key, key, "enabled")
    stale = refusal(registry.update_device_with_sas, name, created.etag, tokens.new_key(), tokens.new_key(), "disabled")
    assert stale == (412, "PreconditionFailed")
    read = registry.get_device(name)
    assert (read.status, read.etag, read.authentication.symmetric_key.primary_key) == ("enabled", current.etag, key)


def test_update_with_star_ignores_the_etag(registry, name):
    registry.create_device_with_sas(name, "", "", "enabled")
    key = tokens.new_key()
    registry.update_device_with_sas(name, "*", key, key, "disabled")
    assert registry.get_device(name).status == "disabled"


def test_update_of_an_unknown_device_is_not_found(registry, name):
    call = (registry.update_device_with_sas, name, "*", tokens.new_key(), tokens.new_key(), "enabled")
    assert refusal(*call) == (404, "DeviceNotFound")


def test_delete_with_a_stale_etag_keeps_the_device(registry, name):
    created = registry.create_device_with_sas(name, "", "", "enabled")
    registry.update_device_with_sas(name, "*", tokens.new_key(), tokens.new_key(), "enabled")
    assert refusal(registry.delete_device, name, created.etag) == (412, "PreconditionFailed")
    assert registry.get_device(name).device_id == name


def test_delete_then_create_makes_another_generation(registry, name):
    first = registry.create_device_with_sas(name, "", "", "enabled")
    registry.delete_device(name)
    assert refusal(registry.get_device, name) == (404, "DeviceNotFound")
    second = registry.create_device_with_sas(name, "", "", "enabled")
    assert second.generation_id != first.generation_id


def test_a_key_of_the_wrong_length_is_refused(registry, name):
    short = base64.b64encode(b"short").decode()
    status, _ = refusal(registry.create_device_with_sas, name, short, short, "enabled")
    assert status == 400


def test_one_key_alone_is_refused(registry, name):
    status, _ = refusal(registry.create_device_with_sas, name, tokens.new_key(), "", "enabled")
    assert status == 400


def test_list_holds_the_new_device_and_honours_its_limit(registry, name):
    registry.create_device_with_sas(f"{name}-a", "", "", "enabled")
    registry.create_device_with_sas(f"{name}-b", "", "", "enabled")
    names = {device.device_id for device in registry.get_devices()}
    assert {f"{name}-a", f"{name}-b"} <= names
    assert len(registry.get_devices(1)) == 1


def test_bulk_create_update_and_delete(registry, name):
    ids = [f"{name}-{number}" for number in range(100)]
    assert registry.bulk_create_or_update_devices([bulk_entry(i, "create") for i in ids]).is_successful
    assert registry.get_device(ids[99]).status == "enabled"
    key = tokens.new_key()
    assert registry.bulk_create_or_update_devices([bulk_entry(ids[0], "update", key)]).is_successful
    assert registry.get_device(ids[0]).authentication.symmetric_key.primary_key == key
    assert registry.bulk_create_or_update_devices([bulk_entry(i, "delete") for i in ids]).is_successful
    assert refusal(registry.get_device, ids[50])[0] == 404


def test_bulk_names_the_failing_entry_and_applies_the_others(registry, name):
    registry.create_device_with_sas(f"{name}-old", "", "", "enabled")
    result = registry.bulk_create_or_update_devices([bulk_entry(f"{name}-old", "create"), bulk_entry(f"{name}-new", "create")])
    assert result.is_successful is False
    assert [(error.device_id, error.error_code) for error in result.errors] == [(f"{name}-old", "DeviceAlreadyExists")]
    assert registry.get_device(f"{name}-new").status == "enabled"


def test_statistics_count_devices_by_status(registry, name):
    before = registry.get_device_registry_statistics()
    registry.create_device_with_sas(f"{name}-on", "", "", "enabled")
    registry.create_device_with_sas(f"{name}-off", "", "", "disabled")
    after = registry.get_device_registry_statistics()
    assert after.total_device_count == before.total_device_count + 2
    assert after.enabled_device_count == before.enabled_device_count + 1
    assert after.disabled_device_count == before.disabled_device_count + 1


def test_connection_state_and_count_follow_the_device(registry, device):
    before = registry.get_service_statistics().connected_device_count
    with device.connected() as peer:
        peer.ping()
        assert registry.get_device(device.id).connection_state == "Connected"
        assert registry.get_service_statistics().connected_device_count == before + 1
        peer.disconnect()
    # The close is seen by the server a moment after the client is done with it.
    for _ in range(20):
        if registry.get_device(device.id).connection_state == "Disconnected":
            break
        time.sleep(0.1)
    assert registry.get_device(device.id).connection_state == "Disconnected"


def test_a_wrong_policy_key_is_unauthorized_and_recorded(hub, name):
    known = hub.known_records()
    forged = hub.service_connection_string().replace(hub.policy.key, tokens.new_key())
    stranger = IoTHubRegistryManager.from_connection_string(forged)
    assert refusal(stranger.get_device, name) == (401, "IotHubUnauthorizedAccess")
    hub.await_record("refused", "signature|key", known=known)


def test_a_device_key_is_no_service_credential(hub, device):
    url = f"https://localhost:{hub.port('https')}/devices/{device.id}?api-version=2021-04-12"
    answer = requests.get(url, headers={"Authorization": device.token()}, verify=hub.ca_file, timeout=10)
    assert answer.status_code == 401
    assert answer.headers["iothub-errorcode"] == "IotHubUnauthorizedAccess"


def test_a_missing_api_version_is_refused(hub, device):
    token = tokens.signature_token("localhost", hub.policy.key, policy=hub.policy.name)
    url = f"https://localhost:{hub.port('https')}/devices/{device.id}"
    answer = requests.get(url, headers={"Authorization": token}, verify=hub.ca_file, timeout=10)
    assert (answer.status_code, answer.headers["iothub-errorcode"]) == (400, "InvalidProtocolVersion")
