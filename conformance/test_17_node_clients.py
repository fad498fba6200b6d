"""`azure-iot-device` and `azure-iothub` from npm: the device's and the back end's whole conversation in the other language."""

import pytest

import tokens
from back_end import own
from command_queue import await_queued
from node_peer import NodeRefusal

# Cases that are about the back end alone need no module of their own.
as_device = pytest.mark.parametrize("identity", ["device"], indirect=True)


# The device.


def test_the_device_reads_its_twin(node_device, back_end):
    back_end.patch(desired={"climate": {"target": 21.5}}, tags={"hidden": True})
    assert node_device.call("getTwin") == {"desired": {"climate": {"target": 21.5}, "$version": 2}, "reported": {"$version": 1}}


def test_the_device_reports(node_device, back_end):
    node_device.call("getTwin")
    node_device.call("report", patch={"a": {"b": 1, "größe": "grün"}, "list": [1, 2], "gone": 1})
    node_device.call("report", patch={"a": {"b": 2}, "gone": None})
    reported = back_end.twin().properties.reported
    assert own(reported) == {"a": {"b": 2, "größe": "grün"}, "list": [1, 2]}
    assert reported["$version"] == 3


def test_a_broken_report_reaches_the_application_as_an_error(node_device, back_end):
    node_device.call("getTwin")
    with pytest.raises(NodeRefusal):
        node_device.call("report", patch={"with space": 1})
    assert back_end.twin().properties.reported["$version"] == 1


def test_the_device_hears_of_desired_changes(node_device, back_end):
    node_device.call("getTwin")
    node_device.call("watchDesired", path="")
    node_device.next_event("desired")  # The client tells the present state first.
    back_end.patch(desired={"climate": {"target": 19}})
    assert node_device.next_event("desired")["value"] == {"climate": {"target": 19}, "$version": 2}
    back_end.patch(desired={"climate": None})
    assert node_device.next_event("desired")["value"] == {"climate": None, "$version": 3}


def test_the_device_serves_methods(node_device, back_end):
    answers = {
        "status": {"status": 207, "payload": {"größe": ["grün", 1.5, None]}},
        "empty": {"status": 204},
        "text": {"status": 200, "payload": "text"},
    }
    node_device.call("serveMethods", answers=answers)
    assert back_end.invoke("status", {"a": [1]}) == (207, {"größe": ["grün", 1.5, None]})
    assert node_device.next_event("method") == {"name": "status", "payload": {"a": [1]}}
    assert back_end.invoke("empty") == (204, None)
    assert node_device.next_event("method") == {"name": "empty", "payload": ""}
    assert back_end.invoke("text", False) == (200, "text")
    assert node_device.next_event("method") == {"name": "text", "payload": False}


@as_device
def test_the_device_receives_and_completes_messages(node_device, node_service, identity):
    node_device.call("receiveMessages")
    node_service.call(
        "send",
        device=identity.id,
        body="grün",
        messageId="m1",
        correlationId="c1",
        contentType="text/plain",
        contentEncoding="utf-8",
        ack="full",
        properties={"a&b=c": "1/2", "größe": "温度"},
    )
    message = node_device.next_event("message")
    assert (message["body"], message["messageId"], message["correlationId"]) == ("grün", "m1", "c1")
    assert (message["contentType"], message["contentEncoding"]) == ("text/plain", "utf-8")
    assert message["to"] == f"/devices/{identity.id}/messages/devicebound"
    # This client knows the acknowledgement as a property of its messages over AMQP only.
    assert message["properties"] == {"a&b=c": "1/2", "größe": "温度", "iothub-ack": "full"}
    node_device.next_event("completed")
    await_queued(identity, 0)


@as_device
def test_the_device_gets_what_was_queued_for_it(node_device, node_service, identity):
    for number in range(5):
        node_service.call("send", device=identity.id, body=str(number))
    node_device.call("receiveMessages")
    assert [node_device.next_event("message")["body"] for _ in range(5)] == ["0", "1", "2", "3", "4"]


def test_the_device_keeps_its_features_over_a_lost_connection(node_device, identity, back_end):
    node_device.call("getTwin")
    node_device.call("watchDesired", path="")
    node_device.next_event("desired")
    node_device.call("serveMethods", answers={"ping": {"status": 200, "payload": "pong"}})
    node_device.next_event("connect")
    with identity.connected(clean=False) as other:
        other.drop()
    node_device.next_event("connect")
    assert back_end.invoke("ping", connect_secs=10) == (200, "pong")
    back_end.patch(desired={"a": 1})
    assert node_device.next_event("desired")["value"] == {"a": 1, "$version": 2}


# The back end.


@as_device
def test_the_registry_creates_reads_updates_and_deletes_devices(node_service, identity):
    name, key = f"{identity.id}-node", tokens.new_key()
    description = {"deviceId": name, "status": "enabled", "authentication": {"symmetricKey": {"primaryKey": key, "secondaryKey": key}}}

    def registry(method: str, *arguments: object) -> object:
        return node_service.call("registry", method=method, args=arguments)

    created = registry("create", description)
    assert created["authentication"]["symmetricKey"]["primaryKey"] == key
    assert registry("get", name)["generationId"] == created["generationId"]
    with pytest.raises(NodeRefusal) as caught:
        registry("create", description)
    assert (caught.value.name, caught.value.status) == ("DeviceAlreadyExistsError", 409)
    assert registry("update", description | {"status": "disabled"})["status"] == "disabled"
    assert name in {device["deviceId"] for device in registry("list")}
    registry("delete", name)
    with pytest.raises(NodeRefusal) as caught:
        registry("get", name)
    assert (caught.value.name, caught.value.status) == ("DeviceNotFoundError", 404)


@as_device
def test_the_registry_creates_reads_updates_and_deletes_modules(node_service, identity):
    def registry(method: str, *arguments: object) -> object:
        return node_service.call("registry", method=method, args=arguments)

    created = registry("addModule", {"deviceId": identity.id, "moduleId": "m", "managedBy": "me"})
    assert created["managedBy"] == "me"
    assert created["authentication"]["symmetricKey"]["primaryKey"]
    assert [module["moduleId"] for module in registry("getModulesOnDevice", identity.id)] == ["m"]
    assert registry("updateModule", registry("getModule", identity.id, "m") | {"managedBy": "you"})["managedBy"] == "you"
    registry("removeModule", identity.id, "m")
    with pytest.raises(NodeRefusal) as caught:
        registry("getModule", identity.id, "m")
    assert caught.value.status == 404


@as_device
def test_the_registry_adds_updates_and_removes_devices_in_bulk(node_service, identity):
    names = [f"{identity.id}-{number}" for number in range(20)]

    def registry(method: str, *arguments: object) -> object:
        return node_service.call("registry", method=method, args=arguments)

    assert registry("addDevices", [{"deviceId": name, "status": "enabled"} for name in names])["isSuccessful"]
    assert registry("updateDevices", [{"deviceId": names[0], "status": "disabled"}], True)["isSuccessful"]
    assert registry("get", names[0])["status"] == "disabled"
    assert registry("removeDevices", [{"deviceId": name} for name in names], True)["isSuccessful"]
    with pytest.raises(NodeRefusal):
        registry("get", names[1])


def test_the_back_end_updates_twins(node_service, identity, back_end):
    twin = node_service.call("updateTwin", args=back_end.identity, patch={"tags": {"t": 1}, "properties": {"desired": {"a": {"b": 1}}}})
    assert (own(twin["properties"]["desired"]), twin["tags"]) == ({"a": {"b": 1}}, {"t": 1})
    assert twin["etag"] == back_end.twin().etag
    twin = node_service.call("updateTwin", args=back_end.identity, patch={"properties": {"desired": {"a": {"b": None}}}})
    assert own(twin["properties"]["desired"]) == {"a": {}}


def test_the_back_end_nulls_whole_sections(node_service, identity, back_end):
    back_end.patch(desired={"a": 1}, tags={"t": 1})
    twin = node_service.call("updateTwin", args=back_end.identity, patch={"tags": None, "properties": {"desired": None}})
    assert own(twin["properties"]["desired"]) == {}
    assert not twin.get("tags")


def test_the_back_end_is_told_of_a_stale_etag(node_service, identity, back_end):
    with pytest.raises(NodeRefusal) as caught:
        node_service.call("updateTwin", args=back_end.identity, patch={"tags": {"t": 2}}, touchFirst={"tags": {"t": 1}})
    assert caught.value.status == 412
    assert back_end.twin().tags == {"t": 1}


def test_the_back_end_calls_methods(node_service, node_device, identity):
    node_device.call("serveMethods", answers={"ping": {"status": 200, "payload": {"pong": [1]}}, "silence": {"status": 0, "silent": True}})

    def invoke(name: str, **params: object) -> object:
        return node_service.call("invoke", device=identity.id, module=identity.module, params={"methodName": name, **params})

    assert invoke("ping", payload={"a": 1}) == {"status": 200, "payload": {"pong": [1]}}
    assert node_device.next_event("method") == {"name": "ping", "payload": {"a": 1}}
    with pytest.raises(NodeRefusal) as caught:
        invoke("silence", payload=None, responseTimeoutInSeconds=5)
    assert (caught.value.name, caught.value.status) == ("GatewayTimeoutError", 504)


def test_the_back_end_is_told_of_a_device_that_is_not_there(node_service, identity):
    params = {"methodName": "ping", "payload": None}
    with pytest.raises(NodeRefusal) as caught:
        node_service.call("invoke", device=identity.id, module=identity.module, params=params)
    assert caught.value.status == 404
    assert "404103" in caught.value.body
