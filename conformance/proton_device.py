"""qpid-proton as devices over AMQP that know nothing of Azure: several of them on one connection, one step at a time."""

import json
from dataclasses import dataclass

from proton import Delivery, Message, SSLDomain, symbol
from proton.reactor import LinkOption
from proton.utils import BlockingConnection, LinkDetached, SendException

from certificates import Pair
from identities import Device
from subject import HOST, Hub

TIMEOUT_SECS = 20

ACCEPTED = Delivery.ACCEPTED
REJECTED = Delivery.REJECTED


class Refused(Exception):
    """A link was not attached; `condition` says why."""

    def __init__(self, condition: str):
        super().__init__(condition)
        self.condition = condition


@dataclass
class Received:
    """A message as it came, and what settles it."""

    body: object
    annotations: dict
    link: object


@dataclass
class TwinAnswer:
    status: int
    version: int | None
    body: object


class _PreSettled(LinkOption):
    def apply(self, link) -> None:
        link.snd_settle_mode = link.SND_SETTLED


class DeviceLine:
    """One connection."""

    def __init__(
        self,
        hub: Hub,
        user: str | None = None,
        password: str | None = None,
        max_frame_size: int = 65536,
        pair: Pair | None = None,
        tunnel_port: int | None = None,
    ):
        """With the certificate of `pair`; through a tunnel that does TLS itself, if there is one."""
        self.hub = hub
        tls = SSLDomain(SSLDomain.MODE_CLIENT)
        tls.set_trusted_ca_db(hub.ca_file)
        tls.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
        if pair:
            tls.set_credentials(str(pair.certificate), str(pair.key), None)
        self._connection = BlockingConnection(
            f"amqp://127.0.0.1:{tunnel_port}" if tunnel_port else f"amqps://localhost:{hub.port('amqp')}",
            timeout=TIMEOUT_SECS,
            ssl_domain=None if tunnel_port else tls,
            sasl_enabled=True,
            allowed_mechs="PLAIN" if user else "ANONYMOUS",
            user=user,
            password=password,
            virtual_host=HOST,
            sni=None if tunnel_port else "localhost",
            max_frame_size=max_frame_size,
        )
        self._cbs: tuple | None = None
        self._twins: dict[str, tuple] = {}
        self._requests = 0

    def __enter__(self) -> "DeviceLine":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def put_token(self, device: Device, expires_at: int | None = None) -> int:
        """The status of the answer."""
        if self._cbs is None:
            receiver = self._connection.create_receiver("$cbs", credit=100)
            self._cbs = (self._connection.create_sender("$cbs"), receiver)
        sender, receiver = self._cbs
        self._requests += 1
        properties = {
            "operation": "put-token",
            "type": "servicebus.windows.net:sastoken",
            "name": f"{HOST}/devices/{device.client_id.replace('/', '/modules/')}",
        }
        sender.send(Message(id=f"put-{self._requests}", reply_to="cbs", properties=properties, body=device.token(expires_at)))
        answer = receiver.receive(timeout=TIMEOUT_SECS)
        receiver.accept()
        assert answer.correlation_id == f"put-{self._requests}"
        return answer.properties["status-code"]

    def sender(self, device: Device, node: str, settled: bool = False):
        try:
            return self._connection.create_sender(address(device, node), options=[_PreSettled()] if settled else None)
        except LinkDetached as refused:
            raise Refused(refused.condition) from None

    def receiver(self, device: Device, node: str, credit: int = 10):
        try:
            return self._connection.create_receiver(address(device, node), credit=credit)
        except LinkDetached as refused:
            raise Refused(refused.condition) from None

    def send(self, link, body: bytes, **fields: object) -> object:
        """The outcome."""
        message = Message(body=body, inferred=True, **fields)
        try:
            return link.send(message).remote_state
        except SendException as refused:
            return refused.state

    def receive(self, link) -> Received:
        message = link.receive(timeout=TIMEOUT_SECS)
        # The tag is no text, and this client can read no other.
        return Received(
            bytes(message.body) if isinstance(message.body, memoryview | bytes) else message.body,
            {str(key): value for key, value in (message.annotations or {}).items()},
            link,
        )

    def accept(self, received: Received) -> None:
        received.link.accept()

    def close(self, link) -> None:
        link.close()

    def await_detach(self, link) -> str:
        """The condition with which the server ends a link."""
        try:
            self._connection.wait(lambda: not link.link.state & link.link.REMOTE_ACTIVE, timeout=TIMEOUT_SECS)
        except LinkDetached as detached:
            return detached.condition
        return link.link.remote_condition.name

    def twin(self, device: Device, operation: str, resource: str | None = None, body: object = None) -> TwinAnswer:
        if device.client_id not in self._twins:
            down = self.receiver(device, "twin", credit=100)
            self._twins[device.client_id] = (self.sender(device, "twin", settled=True), down)
        up, down = self._twins[device.client_id]
        self._requests += 1
        annotations = {symbol("operation"): operation, symbol("resource"): resource}
        payload = json.dumps(body).encode() if body is not None else b" "
        name = f"twin-{self._requests}"
        up.send(Message(correlation_id=name, annotations=annotations, body=payload, inferred=True))
        answer = down.receive(timeout=TIMEOUT_SECS)
        assert answer.correlation_id == name
        found = {str(key): value for key, value in answer.annotations.items()}
        text = bytes(answer.body or b"")
        return TwinAnswer(found["status"], found.get("version"), json.loads(text) if text else None)


def address(device: Device, node: str) -> str:
    middle = f"/modules/{device.module}" if device.module else ""
    return f"/devices/{device.id}{middle}/{node}"
