// `azure-iot-device` uploads files over its own transport: it asks for a place, writes the file there, and says that it is done.

import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import device from "azure-iot-device";
import mqtt from "azure-iot-device-mqtt";

const request = JSON.parse(await text(process.stdin));
const client = device.Client.fromConnectionString(request.connectionString, mqtt.Mqtt);
const outcome = { uploaded: [], error: null };
try {
  await client.open();
  for (const { name, bodyBase64, times } of request.files) {
    const piece = Buffer.from(bodyBase64, "base64");
    const count = times ?? 1;
    const whole = Readable.from(
      (function* () {
        for (let at = 0; at < count; at += 1) yield piece;
      })(),
      { objectMode: false },
    );
    await client.uploadToBlob(name, whole, piece.length * count);
    outcome.uploaded.push(name);
  }
} catch (error) {
  outcome.error = { name: error.constructor.name, message: error.message };
}
process.stdout.write(JSON.stringify(outcome), () => process.exit(0));
