"""A device on each protocol, with whatever credential: it comes in, shows that it is there, and tells when it was put out."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import requests
from proton import ProtonException, Timeout

from certificates import Pair
from identities import Device
from mqtt_wire import MqttPeer, PeerClosed, read_publish, telemetry_topic, tls_socket
from proton_device import ACCEPTED, DeviceLine
from subject import HOST, Hub
from websocket_stream import Tunnel, WebSocketStream

TIMEOUT_SECS = 10

# What came is looked at, however late it is.
GLANCE_SECS = 0.1


@dataclass(frozen=True)
class Login:
    """A device and what it comes with: a certificate, or else a token."""

    hub: Hub
    id: str
    token: str | None = None
    pair: Pair | None = None


@dataclass(frozen=True)
class TokenHolder(Device):
    """A device whose token is made already."""

    made: str = ""

    def token(self, expires_at: int | None = None) -> str:
        return self.made


class MqttLine:
    def __init__(self, login: Login, stream: Callable[[Login], object]):
        self._login = login
        self._peer = MqttPeer(0, "", stream(login))
        user_name = f"{HOST}/{login.id}/?api-version=2021-04-12"
        code, _ = self._peer.connect(login.id, user_name, login.token)
        assert code == 0, f"{login.id} was refused with code {code}"
        self._peer.subscribe((f"devices/{login.id}/messages/devicebound/#", 1))

    def works(self) -> None:
        self._peer.publish(telemetry_topic(self._login.id), b"here")

    def takes_command(self) -> bytes:
        received = self._peer.next_publish()
        self._peer.acknowledge(received)
        return received.payload

    def ended_by(self, deadline: float) -> list[bytes]:
        """What was delivered until the server put the device out, which it did until then."""
        delivered = []
        while True:
            left = max(GLANCE_SECS, deadline - time.monotonic())
            try:
                delivered.append(read_publish(self._peer.read(timeout_secs=left)).payload)
            except PeerClosed:
                return delivered
            except TimeoutError:
                raise AssertionError("the connection is still there") from None

    def close(self) -> None:
        self._peer.drop()


class AmqpLine:
    def __init__(self, login: Login, tunnels: bool):
        self._tunnel = Tunnel(login.hub, "AMQPWSB10", login.pair) if tunnels else None
        self._device = TokenHolder(login.hub, login.id, "", "", made=login.token or "")
        self._line = DeviceLine(login.hub, pair=login.pair, tunnel_port=self._tunnel and self._tunnel.port)
        if login.token:
            status = self._line.put_token(self._device)
            assert status == 200, f"the token of {login.id} was refused with {status}"
        self._commands = self._line.receiver(self._device, "messages/devicebound")
        self._events = self._line.sender(self._device, "messages/events")

    def works(self) -> None:
        assert self._line.send(self._events, b"here") == ACCEPTED

    def takes_command(self) -> bytes:
        received = self._line.receive(self._commands)
        self._line.accept(received)
        # This client writes when it waits for something.
        self.works()
        return bytes(received.body)

    def ended_by(self, deadline: float) -> list[bytes]:
        delivered = []
        while True:
            left = max(GLANCE_SECS, deadline - time.monotonic())
            try:
                delivered.append(bytes(self._commands.receive(timeout=left).body))
            except Timeout:
                raise AssertionError("the link is still there") from None
            except ProtonException:
                # The link ended, or the connection with its only device.
                return delivered

    def close(self) -> None:
        try:
            self._line.__exit__()
        except ProtonException:
            pass
        finally:
            if self._tunnel:
                self._tunnel.close()


class HttpsLine:
    """It has no connection: each request is one of its own, and the first one after the change is refused."""

    def __init__(self, login: Login):
        self._login = login
        self.works()

    def works(self) -> None:
        assert self._ask("POST", "messages/events").status_code == 204

    def takes_command(self) -> bytes:
        answer = self._ask("GET", "messages/devicebound")
        assert answer.status_code == 200, answer.text
        lock = answer.headers["ETag"].strip('"')
        assert self._ask("DELETE", f"messages/devicebound/{lock}").status_code == 204
        return answer.content

    def ended_by(self, _: float) -> list[bytes]:
        delivered = []
        for method, path in (("GET", "messages/devicebound"), ("POST", "messages/events")):
            answer = self._ask(method, path)
            if answer.status_code == 200:
                delivered.append(answer.content)
            assert answer.status_code in (401, 404), f"{path} was answered with {answer.status_code}"
        return delivered

    def close(self) -> None:
        pass

    def _ask(self, method: str, path: str) -> requests.Response:
        login = self._login
        return requests.request(
            method,
            f"https://{HOST}:{login.hub.port('https')}/devices/{login.id}/{path}?api-version=2021-04-12",
            headers={"Authorization": login.token} if login.token else {},
            cert=(str(login.pair.certificate), str(login.pair.key)) if login.pair else None,
            verify=login.hub.ca_file,
            timeout=TIMEOUT_SECS,
        )


def over_tcp(login: Login) -> object:
    return tls_socket(login.hub.port("mqtt"), login.hub.ca_file, pair=login.pair)


def over_websocket(login: Login) -> object:
    return WebSocketStream(login.hub, "mqtt", login.pair)


LINES = {
    "mqtt": lambda login: MqttLine(login, over_tcp),
    "mqtt-ws": lambda login: MqttLine(login, over_websocket),
    "amqp": lambda login: AmqpLine(login, tunnels=False),
    "amqp-ws": lambda login: AmqpLine(login, tunnels=True),
    "https": HttpsLine,
}
