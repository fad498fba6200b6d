// Runs actions on request: a line of JSON on standard input for each, a line of JSON with its result on standard output.
// Events that nobody asked for are lines of their own. The process ends when standard input does.

import { createInterface } from "node:readline";

export function tell(event, data) {
  process.stdout.write(JSON.stringify({ event, data }) + "\n");
}

export async function converse(actions) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, action, ...request } = JSON.parse(line);
    let answer;
    try {
      answer = { id, result: (await actions[action](request)) ?? null };
    } catch (error) {
      answer = { id, error: describe(error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
  // The clients keep sockets and timers of their own.
  process.exit(0);
}

function describe(error) {
  return {
    name: error.name ?? error.constructor.name,
    message: String(error.message),
    status: error.response?.statusCode ?? null,
    body: error.responseBody ?? null,
  };
}
