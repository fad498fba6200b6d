"""`azure-mgmt-iothub` against the hub as a resource (service-rest.md 16)."""

import time

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.iothub import IotHubClient
from azure.mgmt.iothub.models import (
    EventHubConsumerGroupBodyDescription,
    EventHubConsumerGroupName,
    OperationInputs,
    SharedAccessSignatureAuthorizationRule,
)

import tokens
from identities import Device
from management import GROUP, SUBSCRIPTION, PolicyCredential, management_client
from service_http import ServiceHttp
from subject import HOST, Hub, split_connection_string

CLOSE_TIMEOUT_SECS = 2


@pytest.fixture
def hub(own_hub) -> Hub:
    """A server of its own: these cases change policies that others sign with."""
    return own_hub()


@pytest.fixture
def client(hub: Hub) -> IotHubClient:
    return management_client(hub)


def rule(name: str, rights: str, primary: str | None = None, secondary: str | None = None):
    return SharedAccessSignatureAuthorizationRule(
        key_name=name, rights=rights, primary_key=primary, secondary_key=secondary
    )


def keys_by_name(client: IotHubClient, hub: Hub) -> dict[str, SharedAccessSignatureAuthorizationRule]:
    return {rule.key_name: rule for rule in client.iot_hub_resource.list_keys(GROUP, hub.name)}


def refused(status: int):
    """The error of a refused call, with the status that it must have."""
    return pytest.raises(HttpResponseError, check=lambda error: error.status_code == status)


def test_the_hub_as_a_resource(hub, client):
    found = client.iot_hub_resource.get(GROUP, hub.name)
    assert found.id == f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Devices/IotHubs/{hub.name}"
    assert (found.name, found.type) == (hub.name, "Microsoft.Devices/IotHubs")
    assert found.properties.host_name == hub.host_name
    assert (found.properties.state, found.properties.provisioning_state) == ("Active", "Succeeded")
    events = found.properties.event_hub_endpoints["events"]
    assert events.path == hub.entity
    assert events.partition_count == len(events.partition_ids) == 4
    assert events.endpoint.startswith(f"sb://{hub.host_name}")
    assert found.properties.cloud_to_device.max_delivery_count == 10
    assert found.properties.cloud_to_device.default_ttl_as_iso8601.total_seconds() == 3600
    assert found.properties.authorization_policies is None, "keys are read with listkeys alone"
    assert (found.sku.name, found.sku.tier) == ("S1", "Standard")


def test_lists_echo_subscription_and_group(hub, client):
    of_subscription = list(client.iot_hub_resource.list_by_subscription())
    of_group = list(client.iot_hub_resource.list_by_resource_group(GROUP))
    assert [found.name for found in of_subscription] == [found.name for found in of_group] == [hub.name]
    assert f"/resourceGroups/{GROUP}/" in of_group[0].id


def test_names_are_found_without_case(hub, client):
    assert client.iot_hub_resource.get(GROUP, hub.name.upper()).name == hub.name


def test_keys_of_all_policies_and_of_one(hub, client):
    keys = keys_by_name(client, hub)
    assert sorted(keys) == ["device", "iothubowner", "registryRead", "registryReadWrite", "service"]
    assert keys["iothubowner"].primary_key == hub.policy.key
    assert keys["iothubowner"].rights == "RegistryWrite, ServiceConnect, DeviceConnect"
    one = client.iot_hub_resource.get_keys_for_key_name(GROUP, hub.name, "service")
    assert (one.key_name, one.primary_key) == ("service", keys["service"].primary_key)
    with pytest.raises(ResourceNotFoundError):
        client.iot_hub_resource.get_keys_for_key_name(GROUP, hub.name, "nobody")


def write_policies(client: IotHubClient, hub: Hub, rules: list, **options):
    found = client.iot_hub_resource.get(GROUP, hub.name)
    found.properties.authorization_policies = rules
    return client.iot_hub_resource.begin_create_or_update(GROUP, hub.name, found, **options).result()


def test_what_was_read_is_written_back_without_a_change(hub, client):
    before = keys_by_name(client, hub)
    found = client.iot_hub_resource.get(GROUP, hub.name)
    written = client.iot_hub_resource.begin_create_or_update(GROUP, hub.name, found, if_match=found.etag).result()
    assert written.etag == found.etag
    assert {name: rule.primary_key for name, rule in keys_by_name(client, hub).items()} == {
        name: rule.primary_key for name, rule in before.items()
    }


def test_policies_are_created_changed_and_deleted(hub, client):
    owner = keys_by_name(client, hub)["iothubowner"]
    mine = tokens.new_key()
    write_policies(client, hub, [owner, rule("mine", "RegistryRead", mine), rule("drawn", "ServiceConnect")])
    keys = keys_by_name(client, hub)
    assert sorted(keys) == ["drawn", "iothubowner", "mine"]
    assert keys["mine"].primary_key == mine
    assert keys["mine"].secondary_key not in (None, mine) and keys["drawn"].primary_key
    assert keys["iothubowner"].primary_key == hub.policy.key

    # Without keys: those that it has. With other rights: those.
    write_policies(client, hub, [owner, rule("mine", "RegistryRead, ServiceConnect")])
    keys = keys_by_name(client, hub)
    assert sorted(keys) == ["iothubowner", "mine"]
    assert keys["mine"].primary_key == mine
    assert keys["mine"].rights == "RegistryRead, ServiceConnect"


def registry_status(hub: Hub, policy: str, key: str) -> int:
    token = tokens.signature_token(HOST, key, policy=policy)
    return requests.get(
        f"https://{HOST}:{hub.port('https')}/devices/nobody",
        params={"api-version": "2021-04-12"},
        headers={"Authorization": token},
        verify=hub.ca_file,
        timeout=20,
    ).status_code


def test_keys_rotate_with_an_overlap(hub, client):
    before = keys_by_name(client, hub)["registryRead"]
    others = [rule for name, rule in keys_by_name(client, hub).items() if name != "registryRead"]
    fresh = tokens.new_key()
    changed = rule("registryRead", "RegistryRead", fresh, before.secondary_key)
    write_policies(client, hub, [*others, changed])
    assert registry_status(hub, "registryRead", before.primary_key) == 401
    assert registry_status(hub, "registryRead", before.secondary_key) == 404, "the other key goes on"
    assert registry_status(hub, "registryRead", fresh) == 404


def test_a_policy_that_goes_ends_its_connections(hub, client):
    keys = keys_by_name(client, hub)
    ServiceHttp(hub).create_device("d1")
    device = Device(hub, "d1", "", "")
    token = tokens.signature_token(HOST, keys["device"].primary_key, policy="device")
    with device.peer() as peer:
        assert peer.connect("d1", device.user_name, token)[0] == 0
        peer.ping()
        remaining = [rule for name, rule in keys.items() if name != "device"]
        began = time.monotonic()
        write_policies(client, hub, remaining)
        assert peer.closed_within(CLOSE_TIMEOUT_SECS)
        assert time.monotonic() - began < CLOSE_TIMEOUT_SECS
    hub.await_record("closed", "policy", "d1")


def test_policies_that_cannot_be(hub, client):
    before = client.iot_hub_resource.get(GROUP, hub.name).etag
    owner = keys_by_name(client, hub)["iothubowner"]
    with refused(400):
        write_policies(client, hub, [rule("weak", "RegistryRead")])
    with refused(400):
        write_policies(client, hub, [owner, rule("p", "RegistryRead", "canary-no-key")])
    with refused(400):
        write_policies(client, hub, [owner, rule("p", "Everything")])
    with refused(400):
        write_policies(client, hub, [owner, rule("p", "RegistryRead"), rule("p", "RegistryRead")])
    with refused(409):
        write_policies(client, hub, [owner, *(rule(f"p{number}", "RegistryRead") for number in range(16))])
    with refused(409):
        write_policies(client, hub, [owner, *(rule(f"p{number}", "ServiceConnect") for number in range(10))])
    with refused(412):
        write_policies(client, hub, [owner], if_match="AAAAAAAAAAAA")
    assert client.iot_hub_resource.get(GROUP, hub.name).etag == before
    assert "canary-no-key" not in hub.log_path.read_text(errors="replace")


def test_tags_and_comments(hub, client):
    tagged = client.iot_hub_resource.begin_update(GROUP, hub.name, {"tags": {"env": "test"}}).result()
    assert tagged.tags == {"env": "test"}
    tagged.properties.comments = "line 3"
    written = client.iot_hub_resource.begin_create_or_update(GROUP, hub.name, tagged, if_match=tagged.etag).result()
    assert (written.tags, written.properties.comments) == ({"env": "test"}, "line 3")
    with refused(412):
        client.iot_hub_resource.begin_create_or_update(GROUP, hub.name, tagged, if_match=tagged.etag).result()
    with refused(400):
        client.iot_hub_resource.begin_update(
            GROUP, hub.name, {"tags": {f"t{number}": "x" for number in range(51)}}
        ).result()


def test_what_a_hub_cannot_change_is_refused_by_name(hub, client):
    found = client.iot_hub_resource.get(GROUP, hub.name)
    found.properties.event_hub_endpoints["events"].partition_count = 32
    with refused(400) as caught:
        client.iot_hub_resource.begin_create_or_update(GROUP, hub.name, found).result()
    assert "eventHubEndpoints" in str(caught.value) and "partition_count" in str(caught.value)
    with refused(400):
        client.iot_hub_resource.begin_delete(GROUP, hub.name).result()
    with refused(404):
        client.iot_hub.begin_manual_failover(hub.name, GROUP, {"failoverRegion": "x"}).result()


def test_consumer_groups(hub, client):
    groups = client.iot_hub_resource
    body = EventHubConsumerGroupBodyDescription(properties=EventHubConsumerGroupName(name="cg1"))
    made = groups.create_event_hub_consumer_group(GROUP, hub.name, "events", "cg1", body)
    assert (made.name, made.properties["name"]) == ("cg1", "cg1")
    assert groups.create_event_hub_consumer_group(GROUP, hub.name, "events", "cg1", body).name == "cg1"
    names = [group.name for group in groups.list_event_hub_consumer_groups(GROUP, hub.name, "events")]
    assert names == ["$Default", "cg1"]
    assert groups.get_event_hub_consumer_group(GROUP, hub.name, "events", "$Default").name == "$Default"
    with refused(400):
        groups.delete_event_hub_consumer_group(GROUP, hub.name, "events", "$Default")
    groups.delete_event_hub_consumer_group(GROUP, hub.name, "events", "cg1")
    with refused(404):
        groups.get_event_hub_consumer_group(GROUP, hub.name, "events", "cg1")


def test_numbers_and_lists(hub, client):
    ServiceHttp(hub).create_device("d1")
    resource = client.iot_hub_resource
    assert resource.get_stats(GROUP, hub.name).total_device_count == 1
    assert [metric.name for metric in resource.get_quota_metrics(GROUP, hub.name)] == ["TotalDeviceCount"]
    assert [sku.sku.name for sku in resource.get_valid_skus(GROUP, hub.name)] == ["S1"]
    assert list(resource.list_jobs(GROUP, hub.name)) == []
    assert list(resource.get_endpoint_health(GROUP, hub.name)) == []
    assert list(client.operations.list()) == []
    assert client.private_endpoint_connections.list(GROUP, hub.name) == []


def test_names_that_are_taken(hub, client):
    def check(name: str):
        return client.iot_hub_resource.check_name_availability(OperationInputs(name=name))

    assert (check(hub.name).name_available, check(hub.name).reason) == (False, "AlreadyExists")
    assert (check("a_b").name_available, check("a_b").reason) == (False, "Invalid")
    assert check("another-hub").name_available


def test_a_hub_that_is_not_there(hub, client):
    with refused(404) as caught:
        client.iot_hub_resource.get(GROUP, "nowhere")
    assert "nowhere" in str(caught.value)
    assert client.iot_hub_resource.begin_delete(GROUP, "nowhere").result() is None
    found = client.iot_hub_resource.get(GROUP, hub.name)
    with refused(400):
        client.iot_hub_resource.begin_create_or_update(GROUP, "nowhere", found).result()


READS = ["registryRead", "registryReadWrite"]


@pytest.mark.parametrize("name", ["service", "device", *READS])
def test_only_all_rights_manage(hub, client, name):
    key = keys_by_name(client, hub)[name].primary_key
    resource = management_client(hub, PolicyCredential(name, key)).iot_hub_resource
    if name in READS:
        assert resource.get(GROUP, hub.name).properties.host_name == hub.host_name
    else:
        for call in (
            lambda: resource.get(GROUP, hub.name),
            lambda: list(resource.list_by_subscription()),
            lambda: resource.get(GROUP, "nowhere"),
            lambda: resource.begin_delete(GROUP, "nowhere").result(),
        ):
            with refused(401):
                call()
    for call in (
        lambda: list(resource.list_keys(GROUP, hub.name)),
        lambda: resource.get_keys_for_key_name(GROUP, hub.name, name),
        lambda: resource.begin_update(GROUP, hub.name, {"tags": {"a": "b"}}).result(),
        lambda: resource.begin_delete(GROUP, hub.name).result(),
        lambda: resource.check_name_availability(OperationInputs(name=hub.name)),
    ):
        with refused(401):
            call()
    hub.await_record("refused", f"policy '{name}' holds", known=set())


def test_credentials_that_are_none(hub):
    wrong = management_client(hub, PolicyCredential("iothubowner", tokens.new_key()))
    foreign = management_client(hub, PolicyCredential("iothubowner", hub.policy.key, host="other.example"))
    for client in (wrong, foreign):
        with refused(401):
            list(client.iot_hub_resource.list_keys(GROUP, hub.name))


def test_requests_that_the_client_cannot_send(hub):
    base = f"https://{HOST}:{hub.port('https')}/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs"
    token = tokens.signature_token(HOST, hub.policy.key, policy=hub.policy.name)

    def ask(method: str, rest: str, version: str = "2023-06-30", authorization: str = token, **options):
        return requests.request(
            method,
            f"{base}/{rest}",
            params={"api-version": version} if version else {},
            headers={"Authorization": authorization} if authorization else {},
            verify=hub.ca_file,
            timeout=20,
            **options,
        )

    assert ask("GET", hub.name).status_code == 200
    assert ask("GET", hub.name, version="2025-08-01-preview").status_code == 200
    for status, answer in [
        (400, ask("GET", hub.name, version="")),
        (400, ask("GET", hub.name, version="soon")),
        (401, ask("GET", hub.name, authorization="")),
        (401, ask("GET", hub.name, authorization="Bearer e30.e30.e30")),
        (404, ask("GET", f"{hub.name}/nothing")),
        (405, ask("PATCH", f"{hub.name}/listkeys")),
        (400, ask("PUT", hub.name, data=b"{")),
        (400, ask("PUT", hub.name, json={"properties": {"authorizationPolicies": {"canary-key": 1}}})),
        (413, ask("PUT", hub.name, data=b" " * 1_100_000)),
    ]:
        assert answer.status_code == status, answer.text
        form = answer.json()
        assert set(form) == {"code", "httpStatusCode", "message", "details"}
        assert form["code"].startswith(str(status)) and "canary" not in answer.text


def test_connection_strings_of_a_server_without_its_first_owner(hub, client, tmp_path):
    keys = keys_by_name(client, hub)
    rules = [rule("deputy", "RegistryWrite, ServiceConnect, DeviceConnect", tokens.new_key())]
    write_policies(client, hub, [*rules, keys["service"]])
    hub.stop()
    hub.start()
    parts = split_connection_string(hub.description["serviceConnectionString"])
    assert parts["SharedAccessKeyName"] == "deputy"
    assert sorted(keys_by_name(management_client(hub), hub)) == ["deputy", "service"]
