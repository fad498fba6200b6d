// `azure-iothub` over AMQP over WebSocket: opens a connection.

import { text } from "node:stream/consumers";
import iothub from "azure-iothub";
import amqpWs from "azure-iothub/dist/amqp_ws.js";

const request = JSON.parse(await text(process.stdin));
const client = iothub.Client.fromConnectionString(request.connectionString, amqpWs.AmqpWs);
const outcome = { opened: false, error: null };
try {
  await client.open();
  outcome.opened = true;
} catch (error) {
  outcome.error = { name: error.constructor.name, message: error.message };
}
process.stdout.write(JSON.stringify(outcome), () => process.exit(0));
