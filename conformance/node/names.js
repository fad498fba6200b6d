// Loaded with --import: stands in for a name service, so that a dotted name can be used without editing the machine's files.

import dns from "node:dns";

const names = new Set((process.env.CONFORMANCE_LOOPBACK_NAMES ?? "").split(","));
const original = dns.lookup;

dns.lookup = function lookup(name, options, callback) {
  return original.call(dns, names.has(name) ? "localhost" : name, options, callback);
};
