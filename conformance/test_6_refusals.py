"""Who is refused, who is cut off, and what the operator can read about it afterwards."""

import time

import pytest

import mqtt_wire
import tokens
from mqtt_wire import MqttPeer
from service_http import ServiceHttp
from subject import HOST, STRICT_EXPIRY_FLAGS

NOT_AUTHORIZED = 5
SERVER_UNAVAILABLE = 3

CLOSE_TIMEOUT_SECS = 5


def refused_with(device, expected: int, *, client_id=None, user_name=None, password="") -> None:
    """Connects with the given parts (the device's own where none is given) and sees the code and the close."""
    with device.peer() as peer:
        code, session_present = peer.connect(
            client_id or device.id, user_name or device.user_name, device.token() if password == "" else password
        )
        assert (code, session_present) == (expected, False)
        assert peer.closed_within(CLOSE_TIMEOUT_SECS)


def assert_explained(record: dict, device_id: str | None = None) -> None:
    """A record is worth reading when it says where, why and what to do."""
    assert record["peer"].startswith(("127.", "[::1]", "::1"))
    assert record["protocol"]
    assert record["step"] and record["reason"] and record["text"]
    assert record["advice"], "a refusal without advice"
    if device_id:
        assert record["device"] == device_id


def test_wrong_key(hub, device):
    refused_with(device, NOT_AUTHORIZED, password=tokens.device_token(HOST, device.id, tokens.new_key()))
    record = hub.await_record("refused", "signature", device.id)
    assert_explained(record, device.id)


def test_expired_token(hub, device):
    refused_with(device, NOT_AUTHORIZED, password=device.token(int(time.time()) - 3600))
    assert_explained(hub.await_record("refused", "expir", device.id), device.id)


def test_token_expired_within_the_clock_skew_is_accepted(device):
    with device.peer() as peer:
        assert peer.connect(device.id, device.user_name, device.token(int(time.time()) - 60))[0] == 0


def test_unknown_device(hub, device):
    ghost = f"{device.id}-ghost"
    user_name = f"{HOST}/{ghost}/?api-version=2021-04-12"
    token = tokens.device_token(HOST, ghost, device.key)
    refused_with(device, NOT_AUTHORIZED, client_id=ghost, user_name=user_name, password=token)
    assert_explained(hub.await_record("refused", "registry|unknown|not.*(found|registered|exist)", ghost), ghost)


def test_disabled_device(hub, register):
    device = register("disabled", status="disabled")
    refused_with(device, SERVER_UNAVAILABLE)
    assert_explained(hub.await_record("refused", "disabled", device.id), device.id)


def test_token_of_another_device(hub, device, register):
    other = register("other")
    refused_with(device, NOT_AUTHORIZED, password=other.token())
    assert_explained(hub.await_record("refused", "scope|signature", device.id), device.id)


def test_token_for_the_right_device_signed_with_the_key_of_another(hub, device, register):
    other = register("other")
    refused_with(device, NOT_AUTHORIZED, password=tokens.device_token(HOST, device.id, other.key))
    hub.await_record("refused", "signature", device.id)


def test_token_of_a_device_whose_id_is_a_prefix(hub, device, register):
    longer = register(device.id)
    assert longer.id.startswith(device.id)
    refused_with(longer, NOT_AUTHORIZED, password=device.token())
    hub.await_record("refused", "scope|signature", longer.id)


def test_token_with_an_altered_expiry(hub, device):
    soon = int(time.time()) + 60
    stretched = device.token(soon).replace(f"se={soon}", f"se={soon + 999_999}")
    refused_with(device, NOT_AUTHORIZED, password=stretched)
    hub.await_record("refused", "signature", device.id)


def test_wrong_host_name(hub, device):
    known = hub.known_records()
    user_name = f"elsewhere.ironhub.test/{device.id}/?api-version=2021-04-12"
    token = tokens.device_token("elsewhere.ironhub.test", device.id, device.key)
    refused_with(device, NOT_AUTHORIZED, user_name=user_name, password=token)
    hub.await_record("refused", "elsewhere", known=known)


def test_missing_password(hub, device):
    refused_with(device, NOT_AUTHORIZED, password=None)
    hub.await_record("refused", "password|credential|token", device.id)


def test_text_that_is_no_token(hub, device):
    refused_with(device, NOT_AUTHORIZED, password="hunter2-canary")
    hub.await_record("refused", "parse|token|signature", device.id)


def test_client_id_other_than_the_device(hub, device):
    known = hub.known_records()
    refused_with(device, NOT_AUTHORIZED, client_id=f"{device.id}-x")
    hub.await_record("refused", "client.?id|user.?name", known=known)


def test_policy_without_the_right_to_connect_devices(hub, device):
    token = tokens.signature_token(HOST, tokens.new_key(), policy="no-such-policy")
    refused_with(device, NOT_AUTHORIZED, password=token)
    hub.await_record("refused", "policy", device.id)


def test_policy_token_connects_any_device_and_is_stamped_as_such(hub, device, tail):
    token = tokens.signature_token(HOST, hub.policy.key, policy=hub.policy.name)
    with device.peer() as peer:
        assert peer.connect(device.id, device.user_name, token)[0] == 0
        peer.publish(device.topic(), b"by policy")
    stamp = tail.of_device(device.id, 1)[0].annotations["iothub-connection-auth-method"]
    assert '"scope":"hub"' in stamp


def test_secrets_stay_out_of_records_and_log(hub, device):
    forged = tokens.device_token(HOST, device.id, tokens.new_key())
    refused_with(device, NOT_AUTHORIZED, password=forged)
    hub.await_record("refused", "signature", device.id)
    signature = forged.split("sig=")[1].split("&")[0]
    told = "".join(str(record) for record in hub.records(device.id)) + hub.log_path.read_text(errors="replace")
    for secret in (device.key, signature, hub.policy.key, "hunter2-canary"):
        assert secret not in told


def test_deleted_while_connected(hub, registry, device):
    with device.connected() as peer:
        peer.ping()
        registry.delete_device(device.id)
        assert peer.closed_within(CLOSE_TIMEOUT_SECS)
    assert_explained(hub.await_record("closed", "delet|removed|no longer", device.id), device.id)
    refused_with(device, NOT_AUTHORIZED)


def test_disabled_while_connected(hub, registry, device):
    with device.connected() as peer:
        peer.ping()
        registry.update_device_with_sas(device.id, "*", device.key, device.key, "disabled")
        assert peer.closed_within(CLOSE_TIMEOUT_SECS)
    assert_explained(hub.await_record("closed", "disabled", device.id), device.id)
    refused_with(device, SERVER_UNAVAILABLE)


def test_key_changed_while_connected(hub, registry, device):
    with device.connected() as peer:
        peer.ping()
        fresh = tokens.new_key()
        registry.update_device_with_sas(device.id, "*", fresh, tokens.new_key(), "enabled")
        assert peer.closed_within(CLOSE_TIMEOUT_SECS)
    assert_explained(hub.await_record("closed", "key|credential", device.id), device.id)
    refused_with(device, NOT_AUTHORIZED)


def test_other_key_changed_while_connected_keeps_the_connection(registry, device):
    with device.connected() as peer:
        registry.update_device_with_sas(device.id, "*", device.key, tokens.new_key(), "enabled")
        time.sleep(1)
        peer.publish(device.topic(), b"still here")


def test_second_connection_displaces_the_first(hub, device):
    with device.connected() as first, device.connected() as second:
        assert first.closed_within(CLOSE_TIMEOUT_SECS)
        second.publish(device.topic(), b"the newest wins")
    assert_explained(hub.await_record("closed", "displac|newer|another connection|new connection|replac", device.id), device.id)


def test_publish_to_the_topic_of_another_device(hub, device, register, tail):
    other = register("other")
    with device.connected() as peer:
        peer.send(mqtt_wire.publish_packet(other.topic(), b"forged"))
        assert peer.closed_within(CLOSE_TIMEOUT_SECS)
    assert_explained(hub.await_record("closed", "topic|device", device.id), device.id)
    tail.nothing_more(other.id, 0)


def test_publish_to_an_unknown_topic(hub, device):
    with device.connected() as peer:
        peer.send(mqtt_wire.publish_packet("some/other/topic", b"x"))
        assert peer.closed_within(CLOSE_TIMEOUT_SECS)
    hub.await_record("closed", "topic", device.id)


def test_publish_with_quality_of_service_two(hub, device, tail):
    with device.connected() as peer:
        peer.send(mqtt_wire.publish_packet(device.topic(), b"exactly once", qos=2))
        assert peer.closed_within(CLOSE_TIMEOUT_SECS)
    assert_explained(hub.await_record("closed", "qos|quality", device.id), device.id)
    tail.nothing_more(device.id, 0)


def test_message_over_256_kilobytes(hub, device, tail):
    limit = 262_144
    with device.connected() as peer:
        peer.publish(device.topic("k=v"), b"a" * (limit - 2), packet_id=1)
        peer.send(mqtt_wire.publish_packet(device.topic("k=v"), b"b" * (limit - 1), packet_id=2))
        assert peer.closed_within(CLOSE_TIMEOUT_SECS)
    assert_explained(hub.await_record("closed", "size|large|256|262", device.id), device.id)
    assert len(tail.of_device(device.id, 1)[0].body) == limit - 2
    tail.nothing_more(device.id, 1)


def test_second_connect_packet_on_a_connection(hub, device):
    with device.connected() as peer, pytest.raises(mqtt_wire.PeerClosed):
        peer.connect(device.id, device.user_name, device.token())
    hub.await_record("closed", "connect", device.id)


def test_silence_beyond_the_keep_alive(hub, device):
    with device.connected(keep_alive_secs=2) as peer:
        began = time.monotonic()
        assert peer.closed_within(8)
        assert time.monotonic() - began >= 2.5, "closed before one and a half keep-alive times"
    assert_explained(hub.await_record("closed", "keep.?alive", device.id), device.id)


def test_token_expiring_while_connected(own_hub):
    hub = own_hub(STRICT_EXPIRY_FLAGS)
    token = tokens.signature_token(HOST, hub.policy.key, int(time.time()) + 5, policy=hub.policy.name)
    device_id, user_name = own_device(hub)
    with MqttPeer(hub.port("mqtt"), hub.ca_file) as peer:
        assert peer.connect(device_id, user_name, token)[0] == 0
        peer.publish(mqtt_wire.telemetry_topic(device_id), b"in time")
        assert peer.closed_within(15)
    assert_explained(hub.await_record("closed", "expir", device_id), device_id)
    with MqttPeer(hub.port("mqtt"), hub.ca_file) as peer:
        assert peer.connect(device_id, user_name, token)[0] == NOT_AUTHORIZED


def own_device(hub) -> tuple[str, str]:
    """Registers a device on a server outside the reach of the SDK's fixed port; returns its id and user name."""
    device_id = "short-lived"
    ServiceHttp(hub).create_device(device_id)
    return device_id, f"{HOST}/{device_id}/?api-version=2021-04-12"
