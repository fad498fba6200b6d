"""MQTT 3.1.1 byte by byte over TLS.

Client libraries hide what these tests are about: the CONNACK code, the order of PUBACKs, that nothing came before the close.
Only what the cases need is here; it shares no code with the server.
"""

import contextlib
import json
import socket
import ssl
import struct
import time
from dataclasses import dataclass

from certificates import Pair
from subject import HOST

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 10, 11, 12, 13, 14

ANSWER_TIMEOUT_SECS = 10


class PeerClosed(Exception):
    """The server ended the connection."""


@dataclass(frozen=True)
class Packet:
    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True)
class Publish:
    """A PUBLISH of the server, taken apart. `packet_id` is 0 at QoS 0."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    duplicate: bool
    retained: bool

    @property
    def json(self) -> object:
        return json.loads(self.payload)


@dataclass(frozen=True)
class Will:
    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


def text_field(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def remaining_length(length: int) -> bytes:
    encoded = bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(encoded)


def packet(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    return bytes([kind << 4 | flags]) + remaining_length(len(body)) + body


def publish_packet(topic: str, payload: bytes, qos: int = 1, packet_id: int = 1, retain: bool = False) -> bytes:
    identifier = struct.pack(">H", packet_id) if qos else b""
    return packet(PUBLISH, text_field(topic) + identifier + payload, flags=qos << 1 | int(retain))


def read_publish(found: Packet) -> Publish:
    assert found.kind == PUBLISH, f"expected a PUBLISH, got {found}"
    length = struct.unpack(">H", found.body[:2])[0]
    topic, rest = found.body[2 : 2 + length].decode(), found.body[2 + length :]
    qos = found.flags >> 1 & 3
    packet_id = struct.unpack(">H", rest[:2])[0] if qos else 0
    return Publish(topic, rest[2:] if qos else rest, qos, packet_id, bool(found.flags & 8), bool(found.flags & 1))


def telemetry_topic(device: str, properties: str = "") -> str:
    return f"devices/{device}/messages/events/{properties}"


def tls_socket(port: int, ca_file: str, timeout_secs: float = ANSWER_TIMEOUT_SECS, pair: Pair | None = None) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=ca_file)
    if pair:
        context.load_cert_chain(pair.certificate, pair.key)
    plain = socket.create_connection((HOST, port), timeout=timeout_secs)
    try:
        return context.wrap_socket(plain, server_hostname=HOST)
    except BaseException:
        plain.close()
        raise


class MqttPeer:
    """One connection. `connect` must come first; reading raises `PeerClosed` once the server is gone."""

    def __init__(self, port: int, ca_file: str, stream: object | None = None):
        """Over a TLS connection of its own, or a stream that is there."""
        self._socket = stream or tls_socket(port, ca_file)
        self._buffer = bytearray()

    def __enter__(self) -> "MqttPeer":
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def connect(
        self,
        client_id: str,
        user_name: str | None,
        password: str | None,
        *,
        clean: bool = True,
        keep_alive_secs: int = 60,
        will: Will | None = None,
    ) -> tuple[int, bool]:
        """Returns the CONNACK code and the session-present flag."""
        flags = 0x02 if clean else 0
        payload = text_field(client_id)
        if will:
            flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
            payload += text_field(will.topic) + struct.pack(">H", len(will.payload)) + will.payload
        if user_name is not None:
            flags |= 0x80
            payload += text_field(user_name)
        if password is not None:
            flags |= 0x40
            payload += text_field(password)
        header = text_field("MQTT") + bytes([4, flags]) + struct.pack(">H", keep_alive_secs)
        self.send(packet(CONNECT, header + payload))
        answer = self.read(CONNACK)
        return answer.body[1], bool(answer.body[0] & 1)

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except (OSError, ssl.SSLError) as error:
            raise PeerClosed(str(error)) from error

    def publish(self, topic: str, payload: bytes, packet_id: int = 1, retain: bool = False) -> None:
        """Sends at QoS 1 and waits for the PUBACK of the same identifier."""
        self.send(publish_packet(topic, payload, 1, packet_id, retain))
        answer = self.read(PUBACK)
        assert answer.body == struct.pack(">H", packet_id), f"PUBACK for {answer.body.hex()}, sent {packet_id}"

    def next_publish(self, timeout_secs: float = ANSWER_TIMEOUT_SECS) -> Publish:
        """The next packet, which has to be a PUBLISH."""
        return read_publish(self.read(timeout_secs=timeout_secs))

    def ask(self, topic: str, payload: bytes = b"") -> Publish:
        """Sends at QoS 0 and reads the next packet, which has to be the answer."""
        self.send(publish_packet(topic, payload, qos=0))
        return self.next_publish()

    def acknowledge(self, received: Publish) -> None:
        self.send(packet(PUBACK, struct.pack(">H", received.packet_id)))

    def nothing_arrives(self, for_secs: float = 1) -> None:
        with contextlib.suppress(TimeoutError):
            found = self.read(timeout_secs=for_secs)
            raise AssertionError(f"expected silence, got {found}")

    def subscribe(self, *filters: tuple[str, int], packet_id: int = 1) -> list[int]:
        body = struct.pack(">H", packet_id) + b"".join(text_field(name) + bytes([qos]) for name, qos in filters)
        self.send(packet(SUBSCRIBE, body, flags=2))
        answer = self.read(SUBACK)
        assert answer.body[:2] == struct.pack(">H", packet_id), "SUBACK for another SUBSCRIBE"
        return list(answer.body[2:])

    def unsubscribe(self, name: str, packet_id: int = 1) -> None:
        self.send(packet(UNSUBSCRIBE, struct.pack(">H", packet_id) + text_field(name), flags=2))
        assert self.read(UNSUBACK).body == struct.pack(">H", packet_id)

    def ping(self) -> None:
        self.send(packet(PINGREQ))
        assert self.read(PINGRESP).body == b""

    def ping_past_publishes(self) -> None:
        """As `ping`, with what the server was about to send read and left alone."""
        self.send(packet(PINGREQ))
        while self.read().kind != PINGRESP:
            pass

    def disconnect(self) -> None:
        self.send(packet(DISCONNECT))
        self.drop()

    def drop(self) -> None:
        """Ends the TCP connection without DISCONNECT."""
        self._socket.close()

    def read(self, kind: int | None = None, timeout_secs: float = ANSWER_TIMEOUT_SECS) -> Packet:
        deadline = time.monotonic() + timeout_secs
        while (found := self._take_packet()) is None:
            self._receive(deadline)
        assert kind is None or found.kind == kind, f"expected packet type {kind}, got {found}"
        return found

    def await_end(self) -> None:
        """Reads what still comes until the server ends the connection."""
        with contextlib.suppress(PeerClosed):
            while True:
                self.read()

    def closed_within(self, secs: float) -> bool:
        """True when the server ends the connection in time and sends no packet before it does."""
        try:
            unexpected = self.read(timeout_secs=secs)
        except PeerClosed:
            return True
        except TimeoutError:
            return False
        raise AssertionError(f"expected a close, got {unexpected}")

    def _receive(self, deadline: float) -> None:
        self._socket.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            raise
        except (OSError, ssl.SSLError) as error:
            raise PeerClosed(str(error)) from error
        if not data:
            raise PeerClosed("end of stream")
        self._buffer += data

    def _take_packet(self) -> Packet | None:
        length, shift, position = 0, 0, 1
        while position < len(self._buffer):
            digit = self._buffer[position]
            length |= (digit & 0x7F) << shift
            position += 1
            shift += 7
            if not digit & 0x80:
                break
        else:
            return None
        if len(self._buffer) < position + length:
            return None
        first, body = self._buffer[0], bytes(self._buffer[position : position + length])
        del self._buffer[: position + length]
        return Packet(first >> 4, first & 0x0F, body)
