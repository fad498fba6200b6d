// Turns an event of @azure/event-hubs into the record that telemetry.py compares.

export function observe(partition, event) {
  const raw = event.getRawAmqpMessage();
  const text = (value) => {
    if (value == null) return null;
    if (typeof value !== "object") return String(value);
    // The client copies a binary value such as the user id into a plain object of its bytes.
    return Buffer.from(Object.values(value)).toString("utf8");
  };
  const plain = (value) => (value instanceof Date ? value.getTime() : value);
  const system = event.systemProperties ?? {};
  return {
    partition,
    sequence: event.sequenceNumber,
    offset: String(event.offset),
    enqueued_ms: event.enqueuedTimeUtc.getTime(),
    body: Buffer.from(event.body).toString("base64"),
    message_id: text(event.messageId),
    correlation_id: text(event.correlationId),
    user_id: text(system.userId),
    content_type: text(event.contentType),
    content_encoding: text(system.contentEncoding),
    properties: event.properties ?? {},
    annotations: Object.fromEntries(
      Object.entries(raw.messageAnnotations ?? {}).map(([name, value]) => [name, plain(value)]),
    ),
  };
}
