"""qpid-proton as a back end that knows nothing of Azure: sends commands and takes feedback, deciding each outcome itself."""

import threading
import uuid
from dataclasses import dataclass, field

import cproton
from proton import Delivery, Link, Message, SSLDomain
from proton.handlers import MessagingHandler
from proton.reactor import Container, LinkOption

import tokens
from proton_peer import TIMEOUT_SECS
from subject import Hub

COMMANDS = "/messages/devicebound"
FEEDBACK = "/messages/serviceBound/feedback"


@dataclass(frozen=True)
class Door:
    """Where and as whom to come in."""

    port: int
    ca_file: str
    virtual_host: str
    user: str
    password: str

    @staticmethod
    def of(hub: Hub) -> "Door":
        """Signs in by SASL PLAIN with the hub's own policy."""
        token = tokens.signature_token(hub.host_name, hub.policy.key, policy=hub.policy.name)
        return Door(hub.port("amqp"), hub.ca_file, hub.host_name, f"{hub.policy.name}@sas.root.{hub.label}", token)


@dataclass(frozen=True)
class Verdict:
    """What the hub said about one message: accepted, or rejected with a condition."""

    accepted: bool
    condition: str | None = None
    description: str | None = None


@dataclass
class Batch:
    """One feedback message and what it took to settle it."""

    message: Message
    tag: bytes
    # The state in which the hub settled; only asked for when this side leaves settling to the hub.
    answer: int | None = None


@dataclass
class Outcome:
    verdicts: list[Verdict] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    refusal: str | None = None


class _ReceiverSettles(LinkOption):
    """Receiver settle mode second: this side states an outcome, the hub settles, and only then this side forgets."""

    def apply(self, link: Link) -> None:
        link.rcv_settle_mode = Link.RCV_SECOND


class _BackEnd(MessagingHandler):
    """One connection. Ends when `finished` says so, when it is refused, or after the time limit."""

    def __init__(self, door: Door):
        super().__init__(prefetch=0, auto_accept=False, auto_settle=False)
        self.door = door
        self.outcome = Outcome()

    def on_start(self, event) -> None:
        door = self.door
        tls = SSLDomain(SSLDomain.MODE_CLIENT)
        tls.set_trusted_ca_db(door.ca_file)
        tls.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
        self.timer = event.container.schedule(TIMEOUT_SECS, self)
        self.connection = event.container.connect(
            f"amqps://localhost:{door.port}",
            ssl_domain=tls,
            reconnect=False,
            sasl_enabled=True,
            allowed_mechs="PLAIN",
            user=door.user,
            password=door.password,
            virtual_host=door.virtual_host,
            sni="localhost",
        )
        self.attach(event.container)

    def attach(self, container: Container) -> None:
        raise NotImplementedError

    def on_link_error(self, event) -> None:
        self._refused(event.link.remote_condition)

    def on_connection_error(self, event) -> None:
        self._refused(event.connection.remote_condition)

    def on_transport_error(self, event) -> None:
        self._refused(event.transport.condition)

    def on_timer_task(self, _) -> None:
        self.finish()

    def finish(self) -> None:
        self.timer.cancel()
        self.connection.close()

    def _refused(self, condition) -> None:
        self.outcome.refusal = condition.name if condition else "unknown"
        self.finish()


class _Sender(_BackEnd):
    def __init__(self, door: Door, messages: list[Message]):
        super().__init__(door)
        self.messages = messages
        self.sent = 0

    def attach(self, container: Container) -> None:
        container.create_sender(self.connection, COMMANDS)

    def on_sendable(self, event) -> None:
        # One at a time, so that verdicts come in the order of the messages.
        if self.sent == len(self.outcome.verdicts) < len(self.messages):
            event.sender.send(self.messages[self.sent])
            self.sent += 1

    def on_delivery(self, event) -> None:
        delivery = event.delivery
        if not delivery.link.is_sender or not delivery.updated:
            return
        condition = delivery.remote.condition
        self.outcome.verdicts.append(
            Verdict(
                delivery.remote_state == Delivery.ACCEPTED,
                condition.name if condition else None,
                condition.description if condition else None,
            )
        )
        delivery.settle()
        if len(self.outcome.verdicts) == len(self.messages):
            self.finish()
        else:
            self.on_sendable(event)


class _FeedbackReceiver(_BackEnd):
    """Takes batches until one holds the wanted message. `state` is what it says of each batch."""

    def __init__(self, door: Door, wanted: str, state: int, hub_settles: bool, credit: int):
        super().__init__(door)
        self.wanted, self.state, self.hub_settles, self.credit = wanted, state, hub_settles, credit
        self.is_found = False

    def attach(self, container: Container) -> None:
        options = _ReceiverSettles() if self.hub_settles else None
        receiver = container.create_receiver(self.connection, FEEDBACK, options=options)
        receiver.flow(self.credit)

    def on_delivery(self, event) -> None:
        delivery = event.delivery
        if delivery.readable and not delivery.partial:
            self._take(event, delivery)
        elif delivery.updated and delivery.settled and self.hub_settles:
            batch = next(b for b in self.outcome.batches if b.tag == _tag(delivery))
            batch.answer = delivery.remote_state
            delivery.settle()
            if self.is_found:
                self.finish()

    def _take(self, event, delivery: Delivery) -> None:
        message = Message()
        message.recv(event.receiver)
        batch = Batch(message, _tag(delivery))
        self.outcome.batches.append(batch)
        self.is_found = self.is_found or self.wanted.encode() in bytes(message.body)
        delivery.update(self.state)
        if self.hub_settles:
            return
        delivery.settle()
        if self.is_found:
            self.finish()
        else:
            event.receiver.flow(1)


def _tag(delivery: Delivery) -> bytes:
    # `delivery.tag` reads every tag as UTF-8, which a binary one need not be.
    raw = cproton.lib.pn_delivery_tag(delivery._impl)
    return bytes(cproton.ffi.unpack(raw.start, raw.size))


def command(device: str, body: bytes, *, to: str | None = None, ack: str | None = None, **properties: object) -> Message:
    """A command with an id of its own. `properties` are fields of proton's message, such as `correlation_id`."""
    application = dict(properties.pop("application", {}))
    if ack is not None:
        application["iothub-ack"] = ack
    message = Message(
        id=str(uuid.uuid4()),
        address=f"/devices/{device}/messages/devicebound" if to is None else to,
        properties=application or None,
        body=body,
        inferred=True,
    )
    for name, value in properties.items():
        setattr(message, name, value)
    return message


def send(door: Door, *messages: Message) -> list[Verdict]:
    """One verdict for each message, in their order."""
    outcome = _run(_Sender(door, list(messages)))
    assert outcome.refusal is None, f"the sender was refused: {outcome.refusal}"
    assert len(outcome.verdicts) == len(messages), f"{len(outcome.verdicts)} verdicts on {len(messages)} messages"
    return outcome.verdicts


def refusal_to_send(door: Door, message: Message) -> str:
    """The condition with which the link, not the message, was refused."""
    outcome = _run(_Sender(door, [message]))
    assert outcome.refusal, "the link was not refused"
    return outcome.refusal


def feedback_about(
    door: Door, message_id: str, *, state: int = Delivery.ACCEPTED, hub_settles: bool = False, credit: int = 1
) -> Batch:
    """The batch that tells of this message; what it says of the batches that come before is the same."""
    outcome = _run(_FeedbackReceiver(door, message_id, state, hub_settles, credit))
    assert outcome.refusal is None, f"the receiver was refused: {outcome.refusal}"
    assert outcome.batches and message_id.encode() in bytes(outcome.batches[-1].message.body), f"no feedback on {message_id}"
    return outcome.batches[-1]


def _run(handler: _BackEnd) -> Outcome:
    container = Container(handler)
    thread = threading.Thread(target=container.run, daemon=True)
    thread.start()
    thread.join(timeout=TIMEOUT_SECS + 10)
    assert not thread.is_alive(), "the AMQP connection did not end"
    return handler.outcome
