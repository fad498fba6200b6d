// rhea as a device that sends batches (message format 0x80013700). Prints the outcome of each.

import { text } from "node:stream/consumers";
import rhea from "rhea";

const BATCH_FORMAT = 0x80013700;

const request = JSON.parse(await text(process.stdin));
const container = rhea.create_container();
const connection = container.connect({
  transport: "tls",
  host: "localhost",
  port: request.port,
  username: request.user,
  password: request.password,
  hostname: "localhost",
  reconnect: false,
});
const sender = connection.open_sender(request.address);
const outcomes = [];

function next() {
  if (outcomes.length === request.batches.length) return finish();
  const messages = request.batches[outcomes.length].map((body) => rhea.message.encode({ body: rhea.message.data_section(Buffer.from(body)) }));
  sender.send(rhea.message.encode({ body: rhea.message.data_sections(messages) }), undefined, BATCH_FORMAT);
}

function finish() {
  process.stdout.write(JSON.stringify(outcomes), () => process.exit(0));
}

sender.once("sendable", next);
sender.on("accepted", () => {
  outcomes.push("accepted");
  next();
});
sender.on("rejected", ({ delivery }) => {
  outcomes.push(delivery.remote_state.error.condition);
  next();
});
container.on("sender_error", () => finish());
container.on("disconnected", () => finish());
