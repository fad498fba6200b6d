"""`azure-iot-device` over a line that breaks: it subscribes once in its life, so the stored session must serve it afterwards."""

from collections.abc import Iterator

import pytest

from back_end import own, refusal
from command_queue import await_queued
from cut_line import CutLine
from device_client import DeviceClient
from identities import Device

@pytest.fixture(params=["sync", "aio"])
def client(request, hub, identity, line) -> Iterator[DeviceClient]:
    string = hub.device_connection_string(identity.id, identity.key, hub.dotted_name, identity.module)
    with DeviceClient(string, hub.ca_file, request.param, "module" if identity.module else "device") as connected:
        yield connected


def break_and_mend(line: CutLine, client: DeviceClient) -> None:
    line.cut()
    client.await_loss()
    line.join()
    client.await_return()


def echo(request) -> tuple[int, object]:
    return 200, request.payload


def test_desired_changes_arrive_over_a_new_connection(client, back_end, line):
    client.listen_for_desired()
    back_end.patch(desired={"round": 0})
    assert client.next_patch() == {"round": 0, "$version": 2}
    for number in (1, 2):
        break_and_mend(line, client)
        back_end.patch(desired={"round": number})
        assert client.next_patch() == {"round": number, "$version": number + 2}


def test_a_desired_change_made_while_offline_is_not_lost(client, back_end, line):
    # The client reads the twin when it is back and hands on what it missed. It hears the answer if it has read it once before.
    client.get_twin()
    client.listen_for_desired()
    back_end.patch(desired={"round": 0})
    assert client.next_patch()["$version"] == 2
    line.cut()
    client.await_loss()
    back_end.patch(desired={"round": 1})
    back_end.patch(desired={"late": True})
    line.join()
    assert client.next_patch() == {"round": 1, "late": True, "$version": 4}


def test_twin_requests_work_over_a_new_connection(client, line):
    client.report({"round": 0})
    break_and_mend(line, client)
    client.report({"round": 1})
    assert client.get_twin()["reported"] == {"round": 1, "$version": 3}


def test_a_report_made_while_offline_is_delivered_later(client, back_end, line):
    client.report({"before": True})
    line.cut()
    client.await_loss()
    line.join()
    client.report({"after": True})
    assert own(back_end.twin().properties.reported) == {"before": True, "after": True}


def test_methods_are_called_over_a_new_connection(client, back_end, line):
    client.serve(echo)
    assert back_end.invoke("echo", 0) == (200, 0)
    line.cut()
    client.await_loss()
    assert refusal(back_end.invoke, "echo", 1)[0] == 404
    line.join()
    client.await_return()
    assert back_end.invoke("echo", 2) == (200, 2)


def test_a_call_waits_for_a_broken_line_to_be_mended(client, back_end, line):
    client.serve(echo)
    line.cut()
    client.await_loss()
    line.join()
    assert back_end.invoke("echo", "patient", response_secs=30, connect_secs=20) == (200, "patient")


@pytest.mark.parametrize("identity", ["device"], indirect=True)
def test_messages_queued_while_offline_arrive_without_a_new_subscription(client, identity, line, commands):
    client.listen_for_messages()
    commands.send(identity.id, "before")
    assert client.next_message().data == b"before"
    # The client acknowledges after it has handed the message on; cut earlier, it would get the message again.
    await_queued(identity, 0)
    line.cut()
    client.await_loss()
    for number in range(10):
        commands.send(identity.id, f"while offline {number}")
    line.join()
    assert [client.next_message().data for _ in range(10)] == [b"while offline %d" % n for n in range(10)]
    commands.send(identity.id, "afterwards")
    assert client.next_message().data == b"afterwards"


@pytest.mark.parametrize("identity", ["device"], indirect=True)
def test_messages_queued_for_a_client_that_left_arrive_when_it_comes_again(client, hub, identity, commands):
    client.listen_for_messages()
    client.disconnect()
    commands.send(identity.id, "for later")
    client.connect()
    assert client.next_message().data == b"for later"


@pytest.mark.parametrize("identity", ["device"], indirect=True)
def test_a_displaced_client_comes_back_with_all_its_features(client, identity: Device, back_end, commands):
    client.listen_for_desired()
    client.listen_for_messages()
    client.serve(echo)
    # The other connection has the same stored session, and leaves it as it is.
    with identity.connected(clean=False) as other:
        client.await_loss()
        other.drop()
    client.await_return()
    assert back_end.invoke("echo", 1, connect_secs=10) == (200, 1)
    commands.send(identity.id, "still there?")
    assert client.next_message().data == b"still there?"
    version = back_end.patch(desired={"a": 1}).properties.desired["$version"]
    assert client.next_patch()["$version"] == version


@pytest.mark.parametrize("identity", ["device"], indirect=True)
def test_a_device_that_was_disabled_comes_back_when_it_is_enabled(client, identity, registry, back_end, commands):
    client.listen_for_messages()
    client.serve(echo)
    registry.update_device_with_sas(identity.id, "*", identity.key, identity.key, "disabled")
    client.await_loss()
    commands.send(identity.id, "sent while disabled")
    registry.update_device_with_sas(identity.id, "*", identity.key, identity.key, "enabled")
    client.await_return()
    assert client.next_message().data == b"sent while disabled"
    assert back_end.invoke("echo", 1, connect_secs=10) == (200, 1)
