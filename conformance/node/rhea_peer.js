// rhea as an AMQP 1.0 peer that knows nothing of Azure: one receiver, by SASL PLAIN or by CBS.
// The request comes as JSON on standard input, the result goes as JSON to standard output.

import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import rhea from "rhea";

const SELECTOR = "apache.org:selector-filter:string";

const request = JSON.parse(await text(process.stdin));
const outcome = { bodies: [], sequences: [], drained: false, cbsStatus: null, error: null };
const container = rhea.create_container();
let receiver;

const deadline = setTimeout(() => finish(), request.timeoutMs ?? 30000);

const connection = container.connect({
  transport: "tls",
  host: "localhost",
  port: request.port,
  servername: "localhost",
  hostname: request.virtualHost,
  ca: readFileSync(request.caFile),
  max_frame_size: request.maxFrameSize,
  reconnect: false,
  ...(request.user ? { username: request.user, password: request.password } : {}),
});

connection.on("connection_open", () => (request.cbsToken ? putToken() : attach()));
for (const name of ["receiver_error", "sender_error", "session_error", "connection_error", "disconnected"]) {
  connection.on(name, (context) => fail(name, context));
}
// Proves nothing by itself, but an unhandled one would end the process without a result.
container.on("error", (error) => fail("error", { error }));

function putToken() {
  const answers = connection.open_receiver({ source: "$cbs", credit_window: 1 });
  const requests = connection.open_sender({ target: "$cbs" });
  requests.once("sendable", () =>
    requests.send({
      message_id: "put-1",
      to: "$cbs",
      reply_to: "cbs",
      body: request.cbsToken,
      application_properties: {
        operation: "put-token",
        type: "servicebus.windows.net:sastoken",
        name: request.cbsAudience,
      },
    }),
  );
  answers.on("message", ({ message }) => {
    outcome.cbsStatus = message.application_properties["status-code"];
    outcome.cbsCorrelation = message.correlation_id;
    if (outcome.cbsStatus === 200) attach();
    else finish();
  });
}

function attach() {
  receiver = connection.open_receiver({
    source: {
      address: request.address,
      filter: { [SELECTOR]: rhea.types.wrap_described(request.selector ?? "amqp.annotation.x-opt-offset > '-1'", SELECTOR) },
    },
    credit_window: 0,
    autoaccept: true,
  });
  receiver.on("message", ({ message }) => {
    outcome.bodies.push(Buffer.from(message.body.content ?? message.body).toString("base64"));
    outcome.sequences.push(message.message_annotations["x-opt-sequence-number"]);
    if (outcome.bodies.length === request.stopAfter) finish();
    else if (request.credit === 1) receiver.add_credit(1);
  });
  receiver.on("receiver_drained", () => {
    outcome.drained = true;
    outcome.creditLeft = receiver.credit;
    finish();
  });
  receiver.on("receiver_open", () => {
    if (request.drain) receiver.drain = true;
    receiver.add_credit(request.credit ?? 300);
  });
}

function fail(where, context) {
  const error = context.receiver?.error ?? context.sender?.error ?? context.error ?? context.connection?.error;
  outcome.error ??= {
    where,
    condition: error?.condition ?? error?.code ?? null,
    description: error?.description ?? error?.message ?? null,
    info: error?.info ?? null,
  };
  finish();
}

function finish() {
  clearTimeout(deadline);
  process.stdout.write(JSON.stringify(outcome), () => process.exit(0));
}
