// Turns an event of @azure/event-hubs into the record that telemetry.py compares.

export function observe(partition, event) {
  const raw = event.getRawAmqpMessage();
  const text = (value) => (value == null ? null : Buffer.isBuffer(value) ? value.toString("utf8") : String(value));
  const plain = (value) => (value instanceof Date ? value.getTime() : value);
  const properties = raw.properties ?? {};
  return {
    partition,
    sequence: event.sequenceNumber,
    offset: String(event.offset),
    enqueued_ms: event.enqueuedTimeUtc.getTime(),
    body: Buffer.from(event.body).toString("base64"),
    message_id: text(event.messageId),
    correlation_id: text(event.correlationId),
    user_id: text(properties.userId),
    content_type: text(event.contentType),
    content_encoding: text(properties.contentEncoding),
    properties: event.properties ?? {},
    annotations: Object.fromEntries(
      Object.entries(raw.messageAnnotations ?? {}).map(([name, value]) => [name, plain(value)]),
    ),
  };
}
