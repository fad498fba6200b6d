// azure-iothub as a back end that signs in with a token credential: one token that the bench got from an issuer.

import iothub from "azure-iothub";
import deviceSdk from "azure-iot-device";
import { converse } from "./conversation.js";

const NO_RETRY = { shouldRetry: () => false, nextRetryTimeout: () => -1 };

let registryClient;
let client;

await converse({ open, registry, send, close });

async function open({ host, token }) {
  const credential = { getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 3_600_000 }) };
  registryClient = iothub.Registry.fromTokenCredential(host, credential);
  client = iothub.Client.fromTokenCredential(host, credential);
  client.setRetryPolicy(NO_RETRY);
}

async function registry({ method, args }) {
  const { responseBody } = await registryClient[method](...args);
  return responseBody;
}

async function send({ device, body }) {
  const { result } = await client.send(device, new deviceSdk.Message(body));
  return result?.constructor.name ?? null;
}

async function close() {
  await client.close();
}
