"""Modules: `azure-iot-hub` manages them over HTTPS, `azure-iot-device` connects as one, an edge device looks after its own."""

import base64
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from azure.iot.device import IoTHubModuleClient, Message
from azure.iot.device.exceptions import CredentialError
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import ExportImportDevice
from azure.iot.hub.protocol.models import (
    AuthenticationMechanism,
    Device as DeviceModel,
    DeviceCapabilities,
    SymmetricKey,
)
from msrest.exceptions import HttpOperationError

import device_sdk
import tokens
from conftest import Device
from subject import HOST, Hub

TIMEOUT_SECS = 10

# The version that the identity service of the edge runtime asks with.
EDGE_API_VERSION = "2017-11-08-preview"


@pytest.fixture
def name() -> str:
    return f"module-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def edge(registry: IoTHubRegistryManager, hub: Hub, name: str) -> Device:
    """A fresh edge device."""
    key = tokens.new_key()
    keys = SymmetricKey(primary_key=key, secondary_key=tokens.new_key())
    wanted = DeviceModel(
        device_id=f"{name}-edge",
        status="enabled",
        authentication=AuthenticationMechanism(type="sas", symmetric_key=keys),
        capabilities=DeviceCapabilities(iot_edge=True),
    )
    created = registry.protocol.devices.create_or_update_identity(wanted.device_id, wanted)
    return Device(hub, created.device_id, key, created.generation_id)


@pytest.fixture
def call(hub: Hub) -> Callable[..., requests.Response]:
    """One request with the token of a device, as the edge runtime makes it: the resource in lower case, no policy."""

    def send(method: str, device: Device, path: str, body: dict | None = None, **headers: str) -> requests.Response:
        resource = f"{HOST}/devices/{device.id}".lower()
        return requests.request(
            method,
            f"https://{HOST}/{path}?api-version={EDGE_API_VERSION}",
            headers={"Authorization": tokens.signature_token(resource, device.key), **headers},
            json=body,
            verify=hub.ca_file,
            timeout=TIMEOUT_SECS,
        )

    return send


def refusal(call: Callable, *arguments: object) -> tuple[int, str]:
    with pytest.raises(HttpOperationError) as caught:
        call(*arguments)
    response = caught.value.response
    error_name = response.headers["iothub-errorcode"]
    assert f"ErrorCode:{error_name};" in response.json()["Message"]
    return response.status_code, error_name


def module_client(hub: Hub, device: str, module: str, key: str) -> IoTHubModuleClient:
    string = f"HostName={HOST};DeviceId={device};ModuleId={module};SharedAccessKey={key}"
    return IoTHubModuleClient.create_from_connection_string(string, **device_sdk.options(hub.ca_file))


def create(registry: IoTHubRegistryManager, device: str, module: str = "m", managed_by: str = "") -> str:
    """A module with a key that is known."""
    key = tokens.new_key()
    registry.create_module_with_sas(device, module, managed_by, key, tokens.new_key())
    return key


def test_create_keeps_the_given_keys(registry, device):
    primary, secondary = tokens.new_key(), tokens.new_key()
    created = registry.create_module_with_sas(device.id, "m", "somebody", primary, secondary)
    read = registry.get_module(device.id, "m")
    assert (read.device_id, read.module_id, read.managed_by) == (device.id, "m", "somebody")
    assert read.authentication.symmetric_key.primary_key == primary
    assert read.authentication.symmetric_key.secondary_key == secondary
    assert read.authentication.type == "sas"
    assert (read.etag, read.generation_id) == (created.etag, created.generation_id)
    assert read.connection_state == "Disconnected"
    assert read.cloud_to_device_message_count == 0


def test_create_without_keys_generates_two(registry, device):
    keys = registry.create_module_with_sas(device.id, "m", "", "", "").authentication.symmetric_key
    assert keys.primary_key != keys.secondary_key
    assert [len(base64.b64decode(key)) for key in (keys.primary_key, keys.secondary_key)] == [32, 32]


def test_create_twice_is_a_conflict(registry, device):
    create(registry, device.id)
    again = refusal(registry.create_module_with_sas, device.id, "m", "", "", "")
    assert again == (409, "ModuleAlreadyExistsOnDevice")


def test_missing_modules_and_devices_are_told_apart(registry, device, name):
    assert refusal(registry.get_module, device.id, "m") == (404, "ModuleNotFound")
    assert refusal(registry.get_module, name, "m") == (404, "DeviceNotFound")
    assert refusal(registry.get_modules, name) == (404, "DeviceNotFound")
    assert refusal(registry.create_module_with_sas, name, "m", "", "", "") == (404, "DeviceNotFound")
    assert refusal(registry.delete_module, device.id, "m") == (404, "ModuleNotFound")


def test_update_with_the_current_etag_moves_it_and_with_a_stale_one_does_not(registry, device):
    created = registry.create_module_with_sas(device.id, "m", "one", "", "")
    key = tokens.new_key()
    updated = registry.update_module_with_sas(device.id, "m", "two", created.etag, key, key)
    assert updated.etag != created.etag and updated.generation_id == created.generation_id
    stale = refusal(registry.update_module_with_sas, device.id, "m", "three", created.etag, "", "")
    assert stale == (412, "PreconditionFailed")
    read = registry.get_module(device.id, "m")
    assert (read.managed_by, read.etag, read.authentication.symmetric_key.primary_key) == ("two", updated.etag, key)


def test_delete_honours_its_etag_and_a_new_module_is_another_one(registry, device):
    first = registry.create_module_with_sas(device.id, "m", "", "", "")
    current = registry.update_module_with_sas(device.id, "m", "", "*", "", "")
    assert refusal(registry.delete_module, device.id, "m", first.etag) == (412, "PreconditionFailed")
    registry.delete_module(device.id, "m", current.etag)
    assert registry.get_modules(device.id) == []
    assert registry.create_module_with_sas(device.id, "m", "", "", "").generation_id != first.generation_id


def test_a_module_carries_no_etag_header(hub, registry, device):
    create(registry, device.id)
    authorization = tokens.signature_token(HOST, hub.policy.key, policy=hub.policy.name)
    answer = requests.get(
        f"https://{HOST}/devices/{device.id}/modules/m?api-version=2021-04-12",
        headers={"Authorization": authorization},
        verify=hub.ca_file,
        timeout=TIMEOUT_SECS,
    )
    assert "etag" not in answer.headers
    assert list(answer.json()) == [
        "moduleId",
        "managedBy",
        "deviceId",
        "generationId",
        "etag",
        "connectionState",
        "connectionStateUpdatedTime",
        "lastActivityTime",
        "cloudToDeviceMessageCount",
        "authentication",
    ]


def test_list_holds_every_module_and_the_device_takes_them_with_it(registry, register):
    device = register("module-list")
    for module in ("a", "b", "c"):
        create(registry, device.id, module)
    assert [module.module_id for module in registry.get_modules(device.id)] == ["a", "b", "c"]
    registry.delete_device(device.id)
    registry.create_device_with_sas(device.id, "", "", "enabled")
    assert registry.get_modules(device.id) == []


def test_sixty_creations_at_once_end_with_fifty(registry, device):
    def attempt(number: int) -> str:
        try:
            registry.create_module_with_sas(device.id, f"m{number}", "", "", "")
        except HttpOperationError as error:
            return error.response.headers["iothub-errorcode"]
        return "created"

    with ThreadPoolExecutor(max_workers=20) as pool:
        outcomes = list(pool.map(attempt, range(60)))
    assert (outcomes.count("created"), outcomes.count("TooManyModulesOnDevice")) == (50, 10)
    assert len(registry.get_modules(device.id)) == 50


def test_bulk_creates_a_device_with_its_modules(registry, name):
    def entry(module: str | None, mode: str) -> ExportImportDevice:
        keys = SymmetricKey(primary_key=tokens.new_key(), secondary_key=tokens.new_key())
        authentication = AuthenticationMechanism(type="sas", symmetric_key=keys)
        return ExportImportDevice(id=name, module_id=module, import_mode=mode, authentication=authentication)

    made = registry.bulk_create_or_update_devices([entry(None, "create"), entry("a", "create"), entry("b", "create")])
    assert made.is_successful
    assert [module.module_id for module in registry.get_modules(name)] == ["a", "b"]
    result = registry.bulk_create_or_update_devices([entry("a", "delete"), entry("b", "create")])
    assert [(error.device_id, error.error_code) for error in result.errors] == [(name, "ModuleAlreadyExistsOnDevice")]
    assert [module.module_id for module in registry.get_modules(name)] == ["b"]


def test_a_module_connects_with_its_key_and_its_events_name_it(hub, registry, device, tail):
    key = create(registry, device.id)
    client = module_client(hub, device.id, "m", key)
    try:
        client.connect()
        assert registry.get_module(device.id, "m").connection_state == "Connected"
        assert registry.get_device(device.id).connection_state == "Disconnected"
        client.send_message(Message("from a module"))
        client.send_message_to_output(Message("by an output"), "out")
    finally:
        client.shutdown()
    plain, output = tail.of_device(device.id, 2)
    assert (plain.body, output.body) == (b"from a module", b"by an output")
    generation = registry.get_module(device.id, "m").generation_id
    for event in (plain, output):
        assert event.annotations["iothub-connection-module-id"] == "m"
        assert event.annotations["iothub-connection-auth-generation-id"] == generation
        assert '"scope":"module"' in event.annotations["iothub-connection-auth-method"]
    assert registry.get_module(device.id, "m").connection_state == "Disconnected"


def test_neither_key_opens_the_other(hub, registry, device):
    key = create(registry, device.id)
    client = module_client(hub, device.id, "m", device.key)
    try:
        with pytest.raises(CredentialError):
            client.connect()
    finally:
        client.shutdown()
    code, _ = device.peer().connect(device.id, device.user_name, tokens.device_token(HOST, device.id, key))
    assert code == 5
    hub.await_record("refused", "signature|key", device.id)


@pytest.mark.parametrize("change", ["delete", "rekey", "disable device", "delete device"])
def test_a_change_ends_the_connection_of_a_module(hub, registry, register, change):
    device = register("module-change")
    key = create(registry, device.id)
    peer = device.peer()
    token = tokens.signature_token(f"{HOST}/devices/{device.id}/modules/m", key)
    code, _ = peer.connect(f"{device.id}/m", f"{HOST}/{device.id}/m/?api-version=2021-04-12", token)
    assert code == 0
    if change == "delete":
        registry.delete_module(device.id, "m")
    elif change == "rekey":
        registry.update_module_with_sas(device.id, "m", "", "*", "", "")
    elif change == "disable device":
        registry.update_device_with_sas(device.id, "*", device.key, device.key, "disabled")
    else:
        registry.delete_device(device.id)
    assert peer.closed_within(5)


def test_an_edge_device_has_the_modules_of_its_runtime(registry, edge):
    agent, edge_hub = registry.get_modules(edge.id)
    assert [agent.module_id, edge_hub.module_id] == ["$edgeAgent", "$edgeHub"]
    assert (agent.managed_by, agent.authentication.type) == ("iotEdge", "none")
    assert agent.authentication.symmetric_key.primary_key is None
    refused = refusal(registry.update_module_with_sas, edge.id, "$edgeAgent", "", "*", "", "")
    assert refused == (401, "SystemModuleModifyUnauthorizedAccess")
    assert refusal(registry.create_module_with_sas, edge.id, "$other", "", "", "")[0] == 400


def test_an_edge_device_looks_after_its_own_modules(hub, registry, edge, call, tail):
    path = f"devices/{edge.id}/modules"
    assert [module["moduleId"] for module in call("GET", edge, path).json()] == ["$edgeAgent", "$edgeHub"]
    key = tokens.new_key()
    keys = {"symmetricKey": {"primaryKey": key, "secondaryKey": tokens.new_key()}, "type": "sas"}
    body = {"moduleId": "$edgeAgent", "deviceId": edge.id, "managedBy": "iotEdge", "authentication": keys}
    answer = call("PUT", edge, f"{path}/$edgeAgent", body, **{"If-Match": "*"})
    assert (answer.status_code, answer.json()["authentication"]["symmetricKey"]["primaryKey"]) == (200, key)
    worker = {"moduleId": "worker", "deviceId": edge.id, "authentication": keys}
    assert call("PUT", edge, f"{path}/worker", worker).status_code == 200
    assert call("GET", edge, f"{path}/worker").json()["managedBy"] is None
    assert call("DELETE", edge, f"{path}/worker", **{"If-Match": "*"}).status_code == 204
    client = module_client(hub, edge.id, "$edgeAgent", key)
    try:
        client.connect()
        client.send_message("started")
    finally:
        client.shutdown()
    (event,) = tail.of_device(edge.id, 1)
    assert (event.body, event.annotations["iothub-connection-module-id"]) == (b"started", "$edgeAgent")


def test_a_device_may_not_look_after_modules_that_are_not_its_own(hub, device, edge, call):
    for caller, path, telling in (
        (device, f"devices/{device.id}/modules", "iotEdge"),
        (device, f"devices/{edge.id}/modules", "signature"),
        (edge, f"devices/{device.id}/modules", "signature"),
        (edge, f"devices/{edge.id}", "skn"),
    ):
        known = hub.known_records()
        answer = call("GET", caller, path)
        assert (answer.status_code, answer.headers["iothub-errorcode"]) == (401, "IotHubUnauthorizedAccess"), path
        hub.await_record("refused", telling, known=known)
