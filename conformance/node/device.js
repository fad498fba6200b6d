// azure-iot-device over any of its transports as a device or a module, driven line by line.

import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import device from "azure-iot-device";
import amqp from "azure-iot-device-amqp";
import http from "azure-iot-device-http";
import mqtt from "azure-iot-device-mqtt";
import { converse, tell } from "./conversation.js";

let client;
let twin;
let isModule = false;

const transports = { mqtt: mqtt.Mqtt, "mqtt-ws": mqtt.MqttWs, amqp: amqp.Amqp, "amqp-ws": amqp.AmqpWs, http: http.Http };

await converse({ open, getTwin, report, watchDesired, serveMethods, receiveMessages, settleMessages, send, sendBatch, upload, close });

// A token takes the place of the connection string; a certificate comes with its key, both as PEM.
async function open({ connectionString, token, certificate, module, transport = "mqtt", retries = true, caFile }) {
  isModule = module;
  const kind = isModule ? device.ModuleClient : device.Client;
  client = token
    ? kind.fromSharedAccessSignature(token, transports[transport])
    : kind.fromConnectionString(connectionString, transports[transport]);
  await setOptions(transport, certificate, caFile);
  if (!retries) client.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => -1 });
  client.on("disconnect", () => tell("disconnect", {}));
  client.on("error", (error) => tell("error", { message: error.message }));
  client.on("connect", () => tell("connect", {}));
  await client.open();
}

async function setOptions(transport, certificate, caFile) {
  const options = { ...certificate };
  // Commands are asked for; by default once in many minutes. This transport answers only when its own options are among them.
  if (transport === "http") options.http = { receivePolicy: { interval: 1 } };
  if (Object.keys(options).length === 0) return;
  await client.setOptions({ ...options, ca: readFileSync(caFile, "utf8") });
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
  // Over AMQP it loses the second of two calls, so its state is looked at until both links are there.
  const links = client._transport._deviceMethodClient?._fsm;
  if (links) {
    while (links.state !== "attached") await setTimeout(10);
    return;
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

// Settles one message after the other with the given outcomes: complete, abandon or reject.
async function settleMessages({ outcomes }) {
  client.on("message", async (message) => {
    const outcome = outcomes.shift();
    tell("message", { body: message.getData().toString("utf8"), outcome: outcome ?? null, deliveryCount: message.deliveryCount ?? null });
    if (outcome) await client[outcome](message);
    tell("settled", { outcome: outcome ?? null });
  });
}

function messageOf({ body, bodyBytes, properties = {}, ...system }) {
  const message = new device.Message(bodyBytes ? Buffer.alloc(bodyBytes, "x") : body);
  Object.assign(message, system);
  for (const [key, value] of Object.entries(properties)) message.properties.add(key, value);
  return message;
}

async function send(request) {
  const result = await client.sendEvent(messageOf(request));
  return result?.constructor.name ?? null;
}

async function sendBatch({ messages }) {
  await client.sendEventBatch(messages.map(messageOf));
}

async function upload({ name, body }) {
  const bytes = Buffer.from(body, "base64");
  await client.uploadToBlob(name, Readable.from([bytes], { objectMode: false }), bytes.length);
}

async function close() {
  await client.close();
}
