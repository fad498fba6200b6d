// `azure-iothub` over AMQP reads file notifications until it has as many as are wanted.

import { text } from "node:stream/consumers";
import iothub from "azure-iothub";

const request = JSON.parse(await text(process.stdin));
const client = iothub.Client.fromConnectionString(request.connectionString);
const outcome = { received: [], error: null };
try {
  await client.open();
  const receiver = await new Promise((resolve, reject) => {
    client.getFileNotificationReceiver((error, opened) => (error ? reject(error) : resolve(opened)));
  });
  await new Promise((resolve, reject) => {
    setTimeout(resolve, request.timeoutMs ?? 20000);
    receiver.on("errorReceived", reject);
    receiver.on("message", async (message) => {
      outcome.received.push(JSON.parse(message.getData().toString()));
      // This client has settled the message already; the call must do no harm.
      receiver.complete(message, () => {});
      if (outcome.received.length >= request.count) setTimeout(resolve, 500);
    });
  });
} catch (error) {
  outcome.error = { name: error.constructor.name, message: error.message };
}
process.stdout.write(JSON.stringify(outcome), () => process.exit(0));
