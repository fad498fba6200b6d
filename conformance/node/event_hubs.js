// One action of @azure/event-hubs. The request comes as JSON on standard input, the result goes as JSON to standard output.

import { text } from "node:stream/consumers";
import WebSocket from "ws";
import { EventHubConsumerClient, EventHubProducerClient } from "@azure/event-hubs";
import { observe } from "./observe.js";

const QUICK_RETRY = { maxRetries: 0, timeoutInMs: 20000 };

const actions = { read, properties, takeover, send };

const request = JSON.parse(await text(process.stdin));
const result = await actions[request.action](request);
// The library may keep timers of a connection that was refused, hence the exit, but not before the pipe has taken everything.
process.stdout.write(JSON.stringify(result), () => process.exit(0));

function consumer({ connectionString, group = "$Default", webSocket }, options = {}) {
  const webSocketOptions = webSocket ? { webSocket: WebSocket } : undefined;
  return new EventHubConsumerClient(group, connectionString, { retryOptions: QUICK_RETRY, webSocketOptions, ...options });
}

// Reads the partitions named in `ends` from `startPosition` up to the sequence numbers given there.
async function read(request) {
  const client = consumer(request);
  const missing = new Set(Object.keys(request.ends));
  const events = [];
  const errors = [];
  const lastEnqueued = {};
  const subscriptions = [];
  await new Promise((resolve) => {
    setTimeout(resolve, request.timeoutMs ?? 40000);
    for (const partition of Object.keys(request.ends)) {
      subscriptions.push(
        client.subscribe(
          partition,
          {
            processEvents: async (batch, context) => {
              for (const event of batch) {
                events.push(observe(partition, event));
                if (event.sequenceNumber >= request.ends[partition]) missing.delete(partition);
              }
              if (context.lastEnqueuedEventProperties) lastEnqueued[partition] = context.lastEnqueuedEventProperties;
              if (missing.size === 0) resolve();
            },
            processError: async (error) => {
              errors.push(describe(error));
              resolve();
            },
          },
          {
            startPosition: request.startPosition ?? { offset: "-1" },
            skipParsingBodyAsJson: true,
            maxBatchSize: 100,
            maxWaitTimeInSeconds: 1,
            trackLastEnqueuedEventProperties: request.trackLast ?? false,
            ...(request.ownerLevel === undefined ? {} : { ownerLevel: request.ownerLevel }),
          },
        ),
      );
    }
  });
  await Promise.all(subscriptions.map((subscription) => subscription.close()));
  await client.close();
  return { events, errors, missing: [...missing], lastEnqueued };
}

async function properties(request) {
  const client = consumer(request);
  const hub = await client.getEventHubProperties();
  const partitions = [];
  for (const id of hub.partitionIds) partitions.push(await client.getPartitionProperties(id));
  await client.close();
  return { hub, partitions };
}

// Opens one owner after the other on one partition; the first event shows that a receiver is open.
async function takeover(request) {
  const outcomes = [];
  const clients = [];
  for (const [position, ownerLevel] of request.levels.entries()) {
    const client = consumer(request);
    clients.push(client);
    await new Promise((resolve) => {
      setTimeout(() => resolve(outcomes.push({ position, result: "silent" })), 15000).unref();
      let opened = false;
      client.subscribe(
        request.partition,
        {
          processEvents: async (batch) => {
            if (opened || batch.length === 0) return;
            opened = true;
            resolve(outcomes.push({ position, result: "open" }));
          },
          processError: async (error) => {
            outcomes.push({ position, result: "error", ...describe(error) });
            resolve();
          },
        },
        { startPosition: { offset: "-1" }, maxBatchSize: 1, ...(ownerLevel === null ? {} : { ownerLevel }) },
      );
    });
    // The detach of the one who lost may come a moment later than the winner's first event.
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
  // Closing a client whose receiver was refused may wait for its time limits; the process ends anyway.
  const closing = Promise.allSettled(clients.map((client) => client.close()));
  await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, 2000))]);
  return outcomes;
}

async function send(request) {
  const client = new EventHubProducerClient(request.connectionString, { retryOptions: QUICK_RETRY });
  try {
    await client.sendBatch([{ body: "must not arrive" }], { partitionId: request.partition });
    return { accepted: true };
  } catch (error) {
    return { accepted: false, ...describe(error) };
  } finally {
    await client.close();
  }
}

function describe(error) {
  return { code: error.code ?? error.name, message: error.message };
}
