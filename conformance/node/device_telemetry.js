// `azure-iot-device` as a sender, over one of its transports. The request comes as JSON on standard input, the result goes as JSON
// to standard output.

import { text } from "node:stream/consumers";
import device from "azure-iot-device";
import http from "azure-iot-device-http";
import mqtt from "azure-iot-device-mqtt";

const transports = { http: http.Http, "mqtt-ws": mqtt.MqttWs };

const request = JSON.parse(await text(process.stdin));
const client = device.Client.fromConnectionString(request.connectionString, transports[request.transport]);
const outcome = { accepted: [], error: null };
try {
  // The transport of HTTPS says that it has taken options only if some of them are for its receiver.
  await client.setOptions({ ca: request.caFile, http: { receivePolicy: { interval: 1 } } });
  await client.open();
  const messages = request.messages.map(toMessage);
  if (request.batch) {
    await client.sendEventBatch(messages);
    outcome.accepted = request.messages.map(({ index }) => index);
  } else {
    for (const [place, message] of messages.entries()) {
      await client.sendEvent(message);
      outcome.accepted.push(request.messages[place].index);
    }
  }
  await client.close();
} catch (error) {
  outcome.error = { name: error.constructor.name, message: error.message };
}
process.stdout.write(JSON.stringify(outcome), () => process.exit(0));

function toMessage(sent) {
  const message = new device.Message(Buffer.from(sent.body, "base64"));
  message.messageId = sent.messageId;
  message.correlationId = sent.correlationId;
  message.contentType = sent.contentType;
  message.contentEncoding = sent.contentEncoding;
  for (const [name, value] of Object.entries(sent.properties)) message.properties.add(name, value);
  return message;
}
