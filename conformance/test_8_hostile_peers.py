"""Peers that break the rules are cut off in bounded time, while a device that keeps them is served on."""

import contextlib
import socket
import ssl
import threading
import time

import pytest

import mqtt_wire
from mqtt_wire import MqttPeer
from subject import HOST

PEERS = 20
# The limit for a peer that has not shown who it is, and some room for a busy machine.
UNAUTHENTICATED_TIMEOUT_SECS = 10
PATIENCE_SECS = UNAUTHENTICATED_TIMEOUT_SECS + 8
ACKNOWLEDGE_WITHIN_SECS = 3


@pytest.fixture
def undisturbed(device, tail):
    """A device that publishes before, during and after; each of its messages must be acknowledged quickly and kept."""
    stop, changed = threading.Event(), threading.Condition()
    slowest, failures, acknowledged = [0.0], [], [0]

    def publish() -> None:
        try:
            with device.connected() as peer:
                while not stop.is_set():
                    began = time.monotonic()
                    number = acknowledged[0] + 1
                    peer.publish(device.topic(), b"%d" % number, packet_id=number)
                    slowest[0] = max(slowest[0], time.monotonic() - began)
                    with changed:
                        acknowledged[0] = number
                        changed.notify_all()
                    stop.wait(0.05)
        except Exception as failure:  # noqa: BLE001 (whatever it was, the case has failed and says so below)
            with changed:
                failures.append(failure)
                changed.notify_all()

    def served_once_more() -> None:
        with changed:
            goal = acknowledged[0] + 1
            changed.wait_for(lambda: failures or acknowledged[0] >= goal, timeout=10)
            assert not failures, f"the well-behaved device was disturbed: {failures[0]}"
            assert acknowledged[0] >= goal, "the well-behaved device got no PUBACK for 10 s"

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        served_once_more()
        yield
        served_once_more()
    finally:
        stop.set()
        thread.join(timeout=20)
    assert slowest[0] < ACKNOWLEDGE_WITHIN_SECS, f"one PUBACK took {slowest[0]:.1f} s"
    assert len(tail.of_device(device.id, acknowledged[0])) == acknowledged[0]


def plain_connection(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=PATIENCE_SECS)


def read_to_end(connection: socket.socket, bytes_max: int = 65536) -> bytes:
    """Everything until the server closes; fails when it does not, or when it talks too much."""
    received = b""
    try:
        while data := connection.recv(4096):
            received += data
            assert len(received) <= bytes_max
    except TimeoutError:
        raise AssertionError("the server kept the connection open") from None
    except (ConnectionError, ssl.SSLError):
        pass
    return received


# All listeners in one case each: the cases wait for the limit to pass, and do so once.


@pytest.mark.usefixtures("undisturbed")
def test_peers_that_never_speak_are_cut_off_on_every_listener(hub):
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        ports = [hub.port(name) for name in ("mqtt", "amqp", "https", "amqpPlain")]
        peers = [stack.enter_context(plain_connection(port)) for port in ports for _ in range(PEERS)]
        for peer in peers:
            read_to_end(peer)
        assert time.monotonic() - began < PATIENCE_SECS


@pytest.mark.usefixtures("undisturbed")
def test_peers_silent_after_the_handshake_are_cut_off_on_every_listener(hub):
    with contextlib.ExitStack() as stack:
        began = time.monotonic()
        ports = [hub.port(name) for name in ("mqtt", "amqp", "https")]
        peers = [
            stack.enter_context(mqtt_wire.tls_socket(port, hub.ca_file, PATIENCE_SECS)) for port in ports for _ in range(PEERS)
        ]
        for peer in peers:
            read_to_end(peer)
        assert time.monotonic() - began < PATIENCE_SECS


@pytest.mark.usefixtures("undisturbed")
def test_a_slow_hello_does_not_buy_time(hub):
    with plain_connection(hub.port("mqtt")) as peer:
        began = time.monotonic()
        peer.settimeout(0.5)
        with contextlib.suppress(ConnectionError):
            # The start of a TLS record that announces 512 bytes, and then a byte of it every half second.
            peer.sendall(bytes.fromhex("1603010200 010001fc0303"))
            while time.monotonic() - began < PATIENCE_SECS:
                try:
                    if not peer.recv(100):
                        break
                except TimeoutError:
                    peer.sendall(b"\x00")
        assert time.monotonic() - began < PATIENCE_SECS - 1


FIRST_PACKETS = {
    "ping before connect": mqtt_wire.packet(mqtt_wire.PINGREQ),
    "publish before connect": mqtt_wire.publish_packet("devices/x/messages/events/", b"x"),
    "packet type zero": b"\x00\x00",
    "packet type fifteen": b"\xf0\x00",
    "connect of 256 MB": b"\x10\xff\xff\xff\x7f",
    "length of five bytes": b"\x10\x80\x80\x80\x80\x01",
    "connect with the reserved flag": b"\x10\x0c\x00\x04MQTT\x04\x01\x00\x3c\x00\x00",
    "connect of another protocol": b"\x10\x0c\x00\x04NOPE\x04\x02\x00\x3c\x00\x00",
    "connect cut short": b"\x10\x02\x00\x04",
    "connect with broken text": b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02\xff\xfe",
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "random bytes": bytes((n * 73 + 41) % 256 for n in range(600)),
}


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("data", FIRST_PACKETS.values(), ids=FIRST_PACKETS.keys())
def test_first_packet_that_is_no_connect_closes_at_once(hub, data):
    known = hub.known_records()
    for _ in range(PEERS // 4):
        with MqttPeer(hub.port("mqtt"), hub.ca_file) as peer:
            began = time.monotonic()
            with contextlib.suppress(mqtt_wire.PeerClosed):
                peer.send(data)
            assert peer.closed_within(PATIENCE_SECS)
            assert time.monotonic() - began < UNAUTHENTICATED_TIMEOUT_SECS / 2, "only the time limit ended it"
    hub.await_record("refused", "parse|packet|connect|protocol|malformed", known=known)


@pytest.mark.usefixtures("undisturbed")
def test_older_protocol_level_is_answered_with_code_one(hub):
    with MqttPeer(hub.port("mqtt"), hub.ca_file) as peer:
        peer.send(b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00")
        assert peer.read(mqtt_wire.CONNACK).body == b"\x00\x01"
        assert peer.closed_within(5)


AMQP_HEADER = b"AMQP\x00\x01\x00\x00"

AMQP_OPENINGS = {
    "no AMQP at all": b"GET / HTTP/1.1\r\n\r\n",
    "frame of 4 GB": AMQP_HEADER + b"\xff\xff\xff\xff\x02\x00\x00\x00",
    "frame shorter than its header": AMQP_HEADER + b"\x00\x00\x00\x04\x02\x00\x00\x00",
    "data offset of one": AMQP_HEADER + b"\x00\x00\x00\x08\x01\x00\x00\x00",
    "begin before open": AMQP_HEADER + bytes.fromhex("00000012 02000000 005311 c00503 40 43 43 40"),
    # An open whose list claims 2^31 elements in a few bytes.
    "list longer than its frame": AMQP_HEADER + bytes.fromhex("00000015 02000000 005310 d0 7fffffff 7fffffff 40"),
    # Described values nested far deeper than any message needs.
    "nested without end": AMQP_HEADER + (8 + 3 + 4000).to_bytes(4, "big") + bytes.fromhex("02000000 005310") + b"\x00" * 4000,
}


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("data", AMQP_OPENINGS.values(), ids=AMQP_OPENINGS.keys())
def test_broken_amqp_closes_at_once(hub, data):
    for _ in range(PEERS // 4):
        with mqtt_wire.tls_socket(hub.port("amqp"), hub.ca_file, PATIENCE_SECS) as peer:
            began = time.monotonic()
            peer.sendall(data)
            answer = read_to_end(peer)
            assert answer.startswith(AMQP_HEADER), "the header is the one thing a stranger is told"
            assert time.monotonic() - began < UNAUTHENTICATED_TIMEOUT_SECS / 2, "only the time limit ended it"


HTTP_REQUESTS = {
    "no HTTP at all": b"\x00\x01\x02\x03\r\n\r\n",
    "header without end": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000,
    "two lengths": b"POST /devices HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
}


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("data", HTTP_REQUESTS.values(), ids=HTTP_REQUESTS.keys())
def test_broken_http_is_refused_or_closed(hub, data):
    with mqtt_wire.tls_socket(hub.port("https"), hub.ca_file, PATIENCE_SECS) as peer:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            peer.sendall(data)
        answer = read_to_end(peer)
        assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:100]


@pytest.mark.usefixtures("undisturbed")
def test_an_authenticated_peer_that_announces_a_huge_packet_is_closed(hub, register):
    device = register("huge")
    with device.connected() as peer:
        peer.send(b"\x32\xff\xff\xff\x7f" + b"\x00\x04devi")
        assert peer.closed_within(5)
    hub.await_record("closed", "size|large|length|limit", device.id)
