"""The binary as a process: what it prints, when it refuses to start, how it ends, what it keeps."""

import json
import os
import socket
import ssl
from pathlib import Path

import pytest

import mqtt_wire
import subject
import tokens
from event_readers import read_everything
from mqtt_wire import MqttPeer
from service_http import ServiceHttp
from subject import HOST, TELEMETRY_ONLY

DEVICE = "keeper"
USER_NAME = f"{HOST}/{DEVICE}/?api-version=2021-04-12"


def connected(hub, key: str) -> MqttPeer:
    peer = MqttPeer(hub.port("mqtt"), hub.ca_file)
    assert peer.connect(DEVICE, USER_NAME, tokens.device_token(HOST, DEVICE, key))[0] == 0
    return peer


def test_the_line_of_json_has_all_that_a_script_needs(own_hub):
    hub = own_hub()
    described = hub.description
    assert described["pid"] == hub.process.pid
    assert described["hostName"] and HOST in described["aliases"] + [described["hostName"]]
    assert Path(described["caFile"]).read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert os.path.samefile(described["dataDir"], hub.data)
    assert set(described["ports"]) >= {"mqtt", "amqp", "https", "amqpPlain", "admin"}
    for name in ("mqtt", "amqp", "https", "amqpPlain"):
        with socket.create_connection((HOST, hub.port(name)), timeout=5):
            pass
    assert described["adminUrl"].startswith("http")
    # On another port than the usual one the port stands behind the name, so that the string works as it is.
    service = f"HostName={hub.host_name}:{hub.port('https')};SharedAccessKeyName=iothubowner;"
    assert described["serviceConnectionString"].startswith(service)
    assert described["eventHubConnectionString"].startswith("Endpoint=sb://")
    assert described["eventHubConnectionString"].endswith(f";EntityPath={hub.entity}")


def test_standard_output_holds_one_line_and_the_status_is_zero(own_hub):
    hub = own_hub()
    assert hub.stop() == 0
    assert len(hub.stdout_lines) == 1
    json.loads(hub.stdout_lines[0])


def test_names_given_with_host_are_in_the_certificate(own_hub):
    hub = own_hub(["--host", "meter.factory.test", "--host", "second.factory.test"])
    context = ssl.create_default_context(cafile=hub.ca_file)
    for name in ("meter.factory.test", "second.factory.test", "hub1.ironhub.test", "localhost", "127.0.0.1"):
        with socket.create_connection((HOST, hub.port("mqtt")), timeout=5) as plain:
            context.wrap_socket(plain, server_hostname=name).close()
    with socket.create_connection((HOST, hub.port("mqtt")), timeout=5) as plain, pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(plain, server_hostname="stranger.test")


def test_a_device_can_use_a_name_given_with_host(own_hub):
    hub = own_hub(["--host", "meter.factory.test"])
    key = ServiceHttp(hub).create_device(DEVICE)["authentication"]["symmetricKey"]["primaryKey"]
    user_name = f"meter.factory.test/{DEVICE}/?api-version=2021-04-12"
    with MqttPeer(hub.port("mqtt"), hub.ca_file) as peer:
        assert peer.connect(DEVICE, user_name, tokens.device_token("meter.factory.test", DEVICE, key))[0] == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_tls_version_is_offered(own_hub, version):
    hub = own_hub()
    context = ssl.create_default_context(cafile=hub.ca_file)
    context.minimum_version = context.maximum_version = version
    with socket.create_connection((HOST, hub.port("mqtt")), timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname=HOST) as secured:
            assert secured.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]


def test_a_second_start_on_the_same_folder_is_refused(own_hub):
    hub = own_hub()
    second = subject.refused_start(hub.data)
    assert second.returncode not in (0, None)
    assert second.stdout.strip() == ""
    assert str(hub.data) in second.stderr
    ServiceHttp(hub).create_device(DEVICE)


def test_a_port_in_use_is_named(own_hub, tmp_path):
    hub = own_hub()
    second = subject.refused_start(tmp_path / "other", subject.FREE_PORTS | {"mqtt": hub.port("mqtt")})
    assert second.returncode != 0
    assert str(hub.port("mqtt")) in second.stderr


def test_a_stop_closes_connections_and_keeps_what_was_acknowledged(own_hub):
    hub = own_hub(TELEMETRY_ONLY)
    key = ServiceHttp(hub).create_device(DEVICE)["authentication"]["symmetricKey"]["primaryKey"]
    with connected(hub, key) as peer:
        for number in range(1, 101):
            peer.publish(mqtt_wire.telemetry_topic(DEVICE), b"%d" % number, packet_id=number)
        assert hub.stop() == 0
        assert peer.closed_within(2)
    hub.start()
    bodies = [event.body for event in read_everything(hub.emulator_connection_string(), None)]
    assert bodies == [b"%d" % number for number in range(1, 101)]


def test_everything_is_there_again_after_a_restart(own_hub):
    hub = own_hub(TELEMETRY_ONLY)
    created = ServiceHttp(hub).create_device(DEVICE)
    key = created["authentication"]["symmetricKey"]["primaryKey"]
    hub.create_consumer_group("kept")
    with connected(hub, key) as peer:
        peer.publish(mqtt_wire.telemetry_topic(DEVICE, "a=b"), b"before the restart")
        peer.disconnect()
    [before] = read_everything(hub.emulator_connection_string(), None)
    description, authority = hub.description, Path(hub.ca_file).read_bytes()

    assert hub.stop() == 0
    hub.start()

    assert hub.policy.key == subject.split_connection_string(description["serviceConnectionString"])["SharedAccessKey"]
    assert Path(hub.ca_file).read_bytes() == authority
    read = ServiceHttp(hub).get_device(DEVICE)
    assert (read["generationId"], read["etag"], read["authentication"]) == (
        created["generationId"],
        created["etag"],
        created["authentication"],
    )
    with connected(hub, key) as peer:
        peer.publish(mqtt_wire.telemetry_topic(DEVICE), b"after the restart")
    events = read_everything(hub.emulator_connection_string(), None, group="kept")
    assert events[0] == before
    assert [(event.body, event.sequence) for event in events] == [(b"before the restart", 0), (b"after the restart", 1)]


def test_a_stored_session_outlives_a_restart(own_hub):
    hub = own_hub()
    key = ServiceHttp(hub).create_device(DEVICE)["authentication"]["symmetricKey"]["primaryKey"]
    token = tokens.device_token(HOST, DEVICE, key)
    with MqttPeer(hub.port("mqtt"), hub.ca_file) as peer:
        assert peer.connect(DEVICE, USER_NAME, token, clean=False) == (0, False)
        peer.subscribe((f"devices/{DEVICE}/messages/devicebound/#", 1))
    assert hub.stop() == 0
    hub.start()
    with MqttPeer(hub.port("mqtt"), hub.ca_file) as peer:
        assert peer.connect(DEVICE, USER_NAME, token, clean=False) == (0, True)
