// azure-iot-device over MQTT as a device or a module, driven line by line.

import device from "azure-iot-device";
import mqtt from "azure-iot-device-mqtt";
import { converse, tell } from "./conversation.js";

let client;
let twin;
let isModule = false;

await converse({ open, getTwin, report, watchDesired, serveMethods, receiveMessages, send, close });

async function open({ connectionString, module }) {
  isModule = module;
  const kind = isModule ? device.ModuleClient : device.Client;
  client = kind.fromConnectionString(connectionString, mqtt.Mqtt);
  client.on("error", (error) => tell("error", { message: error.message }));
  client.on("connect", () => tell("connect", {}));
  await client.open();
}

async function getTwin() {
  twin = await client.getTwin();
  return { desired: twin.properties.desired, reported: twin.properties.reported };
}

async function report({ patch }) {
  await new Promise((resolve, reject) => {
    twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
  });
  // A copy of what the client itself now takes for the reported properties.
  return twin.properties.reported;
}

// `path` is empty for all desired properties, else such as ".climate.target".
async function watchDesired({ path }) {
  twin.on(`properties.desired${path}`, (value) => tell("desired", { path, value }));
  // Adding the listener subscribes in the background; this call returns when that is done.
  await new Promise((resolve, reject) => {
    twin.enableTwinDesiredPropertiesUpdates((error) => (error ? reject(error) : resolve()));
  });
}

async function serveMethods({ answers }) {
  for (const [name, { status, payload, silent }] of Object.entries(answers)) {
    const handle = (request, response) => {
      tell("method", { name: request.methodName, payload: request.payload });
      if (silent) return;
      // Without a payload the client sends an empty body.
      if (payload === undefined) response.send(status, done);
      else response.send(status, payload, done);
    };
    if (isModule) client.onMethod(name, handle);
    else client.onDeviceMethod(name, handle);
  }
  // The client tells nobody when it has subscribed; its own state machine does what follows afterwards.
  await new Promise((resolve, reject) => {
    client._transport.enableMethods((error) => (error ? reject(error) : resolve()));
  });
}

function done(error) {
  if (error) tell("error", { message: error.message });
}

async function receiveMessages() {
  client.on("message", async (message) => {
    tell("message", {
      body: message.getData().toString("utf8"),
      messageId: message.messageId ?? null,
      correlationId: message.correlationId ?? null,
      to: message.to ?? null,
      contentType: message.contentType ?? null,
      contentEncoding: message.contentEncoding ?? null,
      expiry: message.expiryTimeUtc ?? null,
      properties: Object.fromEntries(message.properties.propertyList.map(({ key, value }) => [key, value])),
    });
    await client.complete(message);
    tell("completed", { messageId: message.messageId ?? null });
  });
}

async function send({ body }) {
  await client.sendEvent(new device.Message(body));
}

async function close() {
  await client.close();
}
