// `azure-iot-device` over HTTPS as a receiver of commands: each is settled as the request says.

import { text } from "node:stream/consumers";
import device from "azure-iot-device";
import http from "azure-iot-device-http";

const request = JSON.parse(await text(process.stdin));
const client = device.Client.fromConnectionString(request.connectionString, http.Http);
await client.setOptions({ ca: request.caFile, http: { receivePolicy: { interval: 1 } } });
await client.open();
const outcome = { received: [], errors: [] };
const verbs = [...request.settlements];
await new Promise((resolve) => {
  setTimeout(resolve, request.timeoutMs ?? 20000);
  client.on("message", async (message) => {
    outcome.received.push({
      // This transport hands bodies over as text.
      body: Buffer.from(message.getData()).toString("base64"),
      messageId: message.messageId,
      to: message.to,
      ack: message.ack,
      lockToken: message.lockToken,
      deliveryCount: message.deliveryCount,
      properties: Object.fromEntries(message.properties.propertyList.map(({ key, value }) => [key, value])),
    });
    const verb = verbs.shift();
    if (!verb) return;
    try {
      await client[verb](message);
    } catch (error) {
      outcome.errors.push({ name: error.constructor.name, message: error.message });
    }
    if (verbs.length === 0) setTimeout(resolve, 1500);
  });
});
process.stdout.write(JSON.stringify(outcome), () => process.exit(0));
