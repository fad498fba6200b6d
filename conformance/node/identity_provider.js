// An OpenID Connect server (oidc-provider) on a loopback port that gives client_credentials tokens for the audience of IoT Hub.
// A request of the conversation changes its keys: `roll` starts it anew with another one.

import { generateKeyPair, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { promisify } from "node:util";
import Provider from "oidc-provider";
import { converse } from "./conversation.js";

const AUDIENCE = "https://iothubs.azure.net";
const LIFE_SECS = 3600;

// It tells people things on standard output, where the conversation is.
console.info = console.error;
console.log = console.error;

let server;
let issuer;
let clients;
let keys;

await converse({ open, roll, keySet, close });

// `applications` maps a client id to the claims that its tokens carry beside the usual ones.
async function open({ applications, kind = "EC" }) {
  clients = applications;
  keys = [await key(kind)];
  server = createServer((request, response) => server.handler(request, response));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  issuer = `http://127.0.0.1:${server.address().port}`;
  provide();
  return { issuer };
}

async function roll({ kind = "EC", keepsOld = true }) {
  keys = [await key(kind), ...(keepsOld ? keys : [])];
  provide();
}

async function keySet() {
  const answer = await fetch(`${issuer}/jwks`);
  return answer.json();
}

async function close() {
  await new Promise((done) => server.close(done));
}

async function key(kind) {
  const options = kind === "RSA" ? { modulusLength: 2048 } : { namedCurve: "P-256" };
  const { privateKey } = await promisify(generateKeyPair)(kind.toLowerCase(), options);
  const alg = kind === "RSA" ? "RS256" : "ES256";
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg };
}

function provide() {
  const alg = keys[0].alg;
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: Object.keys(clients).map((client_id) => ({
      client_id,
      client_secret: "secret",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: "client_secret_post",
      id_token_signed_response_alg: alg,
    })),
    enabledJWA: { idTokenSigningAlgValues: ["RS256", "ES256"] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        getResourceServerInfo: () => ({
          scope: "",
          audience: AUDIENCE,
          accessTokenFormat: "jwt",
          accessTokenTTL: LIFE_SECS,
          jwt: { sign: { alg, kid: keys[0].kid } },
        }),
      },
    },
    extraTokenClaims: (_, token) => clients[token.clientId],
  });
  server.handler = provider.callback();
}
