"""Network rules and demands on TLS, seen by the official clients and by OpenSSL: who is kept out, who goes on, and what is told of it."""

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator

import pytest
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device.exceptions import ConnectionFailedError
from azure.mgmt.iothub import IotHubClient
from azure.mgmt.iothub.models import IpFilterRule, NetworkRuleSetIpRule, NetworkRuleSetProperties

import device_sdk
from conftest import LINE
from cut_line import CutLine
from device_client import DeviceClient
from identities import Device
from management import GROUP, management_client
from service_http import ServiceHttp
from subject import HOST, Hub

# An address of the loopback interface that no case but these comes from.
SITE = "127.0.0.9"
LIVE_SECS = 2


@contextlib.contextmanager
def line_to(hub: Hub, monkeypatch: pytest.MonkeyPatch, seen_from: str | None = None) -> Iterator[CutLine]:
    """The dotted host name leads clients of this process to the MQTT port of the hub, from an address of choice."""
    original = socket.getaddrinfo

    def getaddrinfo(host: object, *arguments: object, **options: object) -> object:
        return original(LINE[0] if host == hub.dotted_name else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with CutLine(LINE, (HOST, hub.port("mqtt")), seen_from) as laid:
        yield laid


@pytest.fixture
def site(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[CutLine]:
    with line_to(hub, monkeypatch, SITE) as laid:
        yield laid


@pytest.fixture
def client(hub: Hub) -> Iterator[IotHubClient]:
    """The management client. What it wrote is taken back, whatever became of the case."""
    client = management_client(hub)
    yield client
    open_to_all = NetworkRuleSetProperties(default_action="Allow", apply_to_built_in_event_hub_endpoint=False, ip_rules=[])
    write(client, hub, ip_filter_rules=[], network_rule_sets=open_to_all)
    assert "deny" not in hub.run(["network", "list"])


def write(client: IotHubClient, hub: Hub, **changes: object) -> None:
    found = client.iot_hub_resource.get(GROUP, hub.name)
    for name, value in changes.items():
        setattr(found.properties, name, value)
    client.iot_hub_resource.begin_create_or_update(GROUP, hub.name, found).result()


def device_at_site(hub: Hub, device: Device) -> DeviceClient:
    return DeviceClient(hub.device_connection_string(device.id, device.key, hub.dotted_name), hub.ca_file)


def is_refused_at_site(hub: Hub, device: Device) -> None:
    """A client that comes anew and does not try again."""
    string = hub.device_connection_string(device.id, device.key, hub.dotted_name)
    fresh = IoTHubDeviceClient.create_from_connection_string(string, **device_sdk.options(hub.ca_file))
    try:
        with pytest.raises(ConnectionFailedError):
            fresh.connect()
    finally:
        fresh.shutdown()


def service_goes_on(registry, commands, tail, hub: Hub, register: Callable[..., Device], device: Device) -> None:
    """The registry, commands over AMQP, and a reader that sees what a device from elsewhere sends."""
    assert registry.get_device(device.id).device_id == device.id
    commands.send(device.id, "while it is kept out")
    elsewhere = register("elsewhere")
    with DeviceClient(elsewhere.connection_string, hub.ca_file) as sender:
        sender.send("from elsewhere")
    assert [event.body for event in tail.of_device(elsewhere.id, 1)] == [b"from elsewhere"]


def comes_back(connected: DeviceClient, tail, device: Device, body: str) -> None:
    connected.await_return()
    connected.send(body)
    assert tail.of_device(device.id, 2)[-1].body == body.encode()


def record_of_refusal(hub: Hub, device: Device, rule: str) -> None:
    record = hub.await_record("refused", "network_denied", device.id)
    assert record["step"] == "network"
    assert SITE in record["found"] and "device endpoint" in record["found"]
    assert rule in record["expected"]
    assert "ironhub network allow" in record["advice"]


def test_a_rule_of_the_command_line_keeps_a_device_out_and_lets_it_back_in(
    hub, registry, commands, tail, register, device, site
):
    with device_at_site(hub, device) as connected:
        connected.send("before")
        tail.of_device(device.id, 1)
        hub.run(["network", "deny", f"{SITE}/32", "--name", "site", "--endpoint", "device"])
        try:
            connected.await_loss()
            hub.await_record("closed", "network_denied", device.id, within_secs=LIVE_SECS)
            is_refused_at_site(hub, device)
            record_of_refusal(hub, device, "the rule site denies")
            service_goes_on(registry, commands, tail, hub, register, device)
        finally:
            hub.run(["network", "remove", "site"])
        comes_back(connected, tail, device, "after")


def test_a_rule_of_the_management_client_keeps_a_device_out_and_lets_it_back_in(
    hub, registry, commands, tail, register, device, site, client
):
    with device_at_site(hub, device) as connected:
        connected.send("before")
        tail.of_device(device.id, 1)
        write(client, hub, ip_filter_rules=[IpFilterRule(filter_name="branch", action="Reject", ip_mask=f"{SITE}/32")])
        assert "branch" in hub.run(["network", "list"])
        connected.await_loss()
        is_refused_at_site(hub, device)
        record_of_refusal(hub, device, "branch")
        service_goes_on(registry, commands, tail, hub, register, device)
        write(client, hub, ip_filter_rules=[])
        comes_back(connected, tail, device, "after")


def test_filter_rules_and_rule_sets_of_the_management_client_hold_both(hub, tail, device, site, client):
    # In these rules everybody is 0.0.0.0/0, over IPv6 as well, and whoever writes them must stay allowed.
    sets = NetworkRuleSetProperties(
        default_action="Deny",
        apply_to_built_in_event_hub_endpoint=True,
        ip_rules=[NetworkRuleSetIpRule(filter_name="everybody", action="Allow", ip_mask="0.0.0.0/0")],
    )
    rules = [IpFilterRule(filter_name="branch", action="Reject", ip_mask=f"{SITE}/32")]
    write(client, hub, network_rule_sets=sets, ip_filter_rules=rules)
    is_refused_at_site(hub, device)
    record_of_refusal(hub, device, "branch")
    with DeviceClient(device.connection_string, hub.ca_file) as connected:
        connected.send("from here")
    assert [event.body for event in tail.of_device(device.id, 1)] == [b"from here"]


# What a hub demands of TLS, with OpenSSL by way of Python and of its own program.


@pytest.fixture
def demanding(own_hub: Callable[..., Hub]) -> Hub:
    """A server of its own: these cases change what others connect with."""
    return own_hub()


def handshake(hub: Hub, port: str, version: ssl.TLSVersion, ciphers: str | None = None) -> tuple[str, str]:
    """Version and cipher suite that were agreed upon."""
    context = ssl.create_default_context(cafile=hub.ca_file)
    context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    with (
        socket.create_connection((HOST, hub.port(port)), timeout=10) as tcp,
        context.wrap_socket(tcp, server_hostname=HOST) as tls,
    ):
        name, protocol, _ = tls.cipher()
        return tls.version() or protocol, name


def s_client(hub: Hub, port: str, *arguments: str) -> str:
    """What `openssl s_client` says of a connection that it ends at once."""
    answer = subprocess.run(
        ["openssl", "s_client", "-connect", f"{HOST}:{hub.port(port)}", "-servername", HOST, "-CAfile", hub.ca_file, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )
    return answer.stdout + answer.stderr


PORTS = ["mqtt", "amqp", "https"]


@pytest.mark.parametrize("port", PORTS)
def test_the_lowest_version_holds_from_the_next_handshake_on(demanding, port):
    assert handshake(demanding, port, ssl.TLSVersion.TLSv1_2)[0] == "TLSv1.2"
    client = management_client(demanding)
    write(client, demanding, min_tls_version="1.3")
    assert client.iot_hub_resource.get(GROUP, demanding.name).properties.min_tls_version == "1.3"
    known = demanding.known_records()
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        handshake(demanding, port, ssl.TLSVersion.TLSv1_2)
    record = demanding.await_record("refused", "tls_too_old", known=known)
    assert (record["expected"], record["found"]) == ("TLS 1.3 or later", "TLS 1.2 at most")
    assert handshake(demanding, port, ssl.TLSVersion.TLSv1_3)[0] == "TLSv1.3"
    demanding.run(["hub", "set", "min-tls-version=default"])
    assert handshake(demanding, port, ssl.TLSVersion.TLSv1_2)[0] == "TLSv1.2"


@pytest.mark.parametrize("port", PORTS)
def test_versions_that_are_served_nowhere_are_told_of(demanding, port):
    known = demanding.known_records()
    said = s_client(demanding, port, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "alert protocol version" in said
    record = demanding.await_record("refused", "tls_too_old", known=known)
    assert record["expected"] == "TLS 1.2 or later"
    assert record["found"] == "TLS 1.1 at most"


@pytest.mark.parametrize("port", PORTS)
def test_cipher_suites_hold_from_the_next_handshake_on(demanding, port):
    weak, strong = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert handshake(demanding, port, ssl.TLSVersion.TLSv1_2, f"{strong}:{weak}")[1] == weak, "the server's order counts"
    demanding.run(["hub", "set", "cipher-suites=aes-256"])
    assert handshake(demanding, port, ssl.TLSVersion.TLSv1_2, f"{strong}:{weak}")[1] == strong
    known = demanding.known_records()
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        handshake(demanding, port, ssl.TLSVersion.TLSv1_2, weak)
    record = demanding.await_record("refused", "tls_cipher_refused", known=known)
    assert record["found"] == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    assert "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" in record["expected"]
    said = s_client(demanding, port, "-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256")
    assert "alert handshake failure" in said
    assert "TLS_AES_256_GCM_SHA384" in s_client(demanding, port, "-tls1_3")


def test_a_client_that_does_not_know_of_suites_leaves_them_as_they_are(demanding):
    demanding.run(["hub", "set", "cipher-suites=aes-256"])
    write(management_client(demanding), demanding, min_tls_version="1.3")
    shown = demanding.run(["hub", "show"])
    assert "TLS_AES_256_GCM_SHA384" in shown and "TLS_AES_128_GCM_SHA256" not in shown


def test_the_device_client_where_more_is_demanded(demanding, monkeypatch):
    key = ServiceHttp(demanding).create_device("d1")["authentication"]["symmetricKey"]["primaryKey"]
    string = demanding.device_connection_string("d1", key, demanding.dotted_name)
    demanding.run(["hub", "set", "cipher-suites=aes-256"])
    with line_to(demanding, monkeypatch):
        with DeviceClient(string, demanding.ca_file) as connected:
            connected.send("strong")
        # This client speaks TLS 1.2 and nothing else.
        demanding.run(["hub", "set", "min-tls-version=1.3"])
        known = demanding.known_records()
        fresh = IoTHubDeviceClient.create_from_connection_string(string, **device_sdk.options(demanding.ca_file))
        with pytest.raises(ConnectionFailedError):
            fresh.connect()
        fresh.shutdown()
        assert demanding.await_record("refused", "tls_too_old", known=known)["found"] == "TLS 1.2 at most"
