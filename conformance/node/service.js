// azure-iothub as a back end, driven line by line: registry and twins over HTTPS, messages and feedback over AMQP.

import iothub from "azure-iothub";
import amqpWs from "azure-iothub/dist/amqp_ws.js";
import deviceSdk from "azure-iot-device";
import { converse, tell } from "./conversation.js";

// A refusal is what some cases wait for, and a second try would hide it.
const NO_RETRY = { shouldRetry: () => false, nextRetryTimeout: () => -1 };

let registryClient;
let client;

await converse({ open, registry, updateTwin, invoke, send, receiveFeedback, receiveFiles, close });

async function open({ connectionString, transport = "amqp" }) {
  registryClient = iothub.Registry.fromConnectionString(connectionString);
  client = iothub.Client.fromConnectionString(connectionString, transport === "amqp-ws" ? amqpWs.AmqpWs : undefined);
  client.setRetryPolicy(NO_RETRY);
}

// Any call of the registry by name.
async function registry({ method, args }) {
  const { responseBody } = await registryClient[method](...args);
  return responseBody;
}

// Goes through the twin object, which sends the etag that it read; `touchFirst` makes that etag a stale one.
async function updateTwin({ args, patch, touchFirst }) {
  const get = args.length === 2 ? "getModuleTwin" : "getTwin";
  const { responseBody: twin } = await registryClient[get](...args);
  if (touchFirst) await registryClient[get.replace("get", "update")](...args, touchFirst, "*");
  await twin.update(patch);
  return twin.toJSON();
}

async function invoke({ device, module, params }) {
  const target = module ? [device, module] : [device];
  const { result } = await client.invokeDeviceMethod(...target, params);
  return result;
}

async function send({ device, body, bodyBytes, properties = {}, ...system }) {
  const message = new deviceSdk.Message(bodyBytes ? Buffer.alloc(bodyBytes, "x") : body);
  Object.assign(message, system);
  for (const [key, value] of Object.entries(properties)) message.properties.add(key, value);
  const { result } = await client.send(device, message);
  return result?.constructor.name ?? null;
}

async function receiveFeedback() {
  const { result: receiver } = await client.getFeedbackReceiver();
  receiver.on("errorReceived", (error) => tell("error", { message: error.message }));
  receiver.on("message", (message) => {
    const records = JSON.parse(message.data.toString("utf8"));
    tell("feedback", { records, contentType: message.contentType ?? null, userId: String(message.userId ?? "") });
    receiver.complete(message, () => {});
  });
}

async function receiveFiles() {
  const receiver = await new Promise((resolve, reject) => {
    client.getFileNotificationReceiver((error, opened) => (error ? reject(error) : resolve(opened)));
  });
  receiver.on("errorReceived", (error) => tell("error", { message: error.message }));
  receiver.on("message", (message) => {
    tell("file", JSON.parse(message.getData().toString()));
    receiver.complete(message, () => {});
  });
}

async function close() {
  await client.close();
}
