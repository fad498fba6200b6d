"""qpid-proton as an AMQP 1.0 peer that knows nothing of Azure: one receiver, by SASL PLAIN or by CBS."""

import threading
from dataclasses import dataclass, field

from proton import Described, Message, SSLDomain, symbol
from proton.handlers import MessagingHandler
from proton.reactor import Container, Filter

SELECTOR = symbol("apache.org:selector-filter:string")
TIMEOUT_SECS = 30


@dataclass
class Request:
    """What to attach to and how. `credit` is granted again after each message when it is 1, once otherwise."""

    port: int
    ca_file: str
    virtual_host: str
    address: str
    user: str | None = None
    password: str | None = None
    cbs_token: str | None = None
    cbs_audience: str | None = None
    selector: str = "amqp.annotation.x-opt-offset > '-1'"
    max_frame_size: int = 65536
    credit: int = 300
    drain: bool = False
    stop_after: int | None = None


@dataclass
class Outcome:
    messages: list[Message] = field(default_factory=list)
    credit_left: list[int] = field(default_factory=list)
    drained: bool = False
    cbs_status: int | None = None
    condition: str | None = None
    description: str | None = None
    info: dict = field(default_factory=dict)
    where: str | None = None


class Receiver(MessagingHandler):
    def __init__(self, request: Request):
        super().__init__(prefetch=0, auto_accept=True)
        self.request = request
        self.outcome = Outcome()
        self.receiver = None
        self.cbs_sender = None
        self._outstanding = 0

    def on_start(self, event) -> None:
        request = self.request
        tls = SSLDomain(SSLDomain.MODE_CLIENT)
        tls.set_trusted_ca_db(request.ca_file)
        tls.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
        self.timer = event.container.schedule(TIMEOUT_SECS, self)
        self.connection = event.container.connect(
            f"amqps://localhost:{request.port}",
            ssl_domain=tls,
            reconnect=False,
            sasl_enabled=True,
            allowed_mechs="PLAIN" if request.user else "ANONYMOUS",
            user=request.user,
            password=request.password,
            virtual_host=request.virtual_host,
            sni="localhost",
            max_frame_size=request.max_frame_size,
        )

    def on_connection_opened(self, event) -> None:
        if self.receiver or self.cbs_sender:
            return
        if self.request.cbs_token:
            # Both links get the same name, which is legal: a link name is unique per direction only.
            self.cbs_receiver = event.container.create_receiver(self.connection, "$cbs")
            self.cbs_receiver.flow(1)
            self.cbs_sender = event.container.create_sender(self.connection, "$cbs")
        else:
            self._attach(event.container)

    def on_sendable(self, event) -> None:
        if event.sender != self.cbs_sender or self.outcome.cbs_status is not None or self._outstanding:
            return
        self._outstanding = 1
        token_properties = {
            "operation": "put-token",
            "type": "servicebus.windows.net:sastoken",
            "name": self.request.cbs_audience,
        }
        event.sender.send(
            Message(id="put-1", reply_to="cbs", address="$cbs", properties=token_properties, body=self.request.cbs_token)
        )

    def on_message(self, event) -> None:
        if self.cbs_sender and event.receiver == self.cbs_receiver:
            self.outcome.cbs_status = event.message.properties["status-code"]
            self._outstanding = 0
            if self.outcome.cbs_status == 200:
                self._attach(event.container)
            else:
                self._finish()
            return
        self.outcome.messages.append(event.message)
        self.outcome.credit_left.append(event.receiver.credit)
        if self.request.stop_after is not None and len(self.outcome.messages) >= self.request.stop_after:
            self._finish()
        elif self.request.credit == 1:
            event.receiver.flow(1)

    def on_link_flow(self, event) -> None:
        if event.link == self.receiver and self.request.drain and not self.receiver.draining():
            self.outcome.drained = True
            self._finish()

    def on_link_error(self, event) -> None:
        self._note("link", event.link.remote_condition)

    def on_connection_error(self, event) -> None:
        self._note("connection", event.connection.remote_condition)

    def on_transport_error(self, event) -> None:
        self._note("transport", event.transport.condition)

    def on_timer_task(self, _) -> None:
        self._finish()

    def _attach(self, container) -> None:
        described = Filter({SELECTOR: Described(SELECTOR, self.request.selector)})
        self.receiver = container.create_receiver(self.connection, self.request.address, options=described)
        if self.request.drain:
            self.receiver.drain(self.request.credit)
        else:
            self.receiver.flow(self.request.credit)

    def _note(self, where: str, condition) -> None:
        if condition and not self.outcome.condition:
            self.outcome.where = where
            self.outcome.condition = condition.name
            self.outcome.description = condition.description
            self.outcome.info = {str(k): v for k, v in (condition.info or {}).items()}
        self._finish()

    def _finish(self) -> None:
        self.timer.cancel()
        self.connection.close()


def receive(request: Request) -> Outcome:
    """Runs one connection to its end: enough messages, drained, refused, or timed out."""
    handler = Receiver(request)
    container = Container(handler)
    thread = threading.Thread(target=container.run, daemon=True)
    thread.start()
    thread.join(timeout=TIMEOUT_SECS + 10)
    assert not thread.is_alive(), "the AMQP connection did not end"
    return handler.outcome
