// A line for each event as it comes, with the compiler's word that every field is there.

import { DeliverPolicy, jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { BridgeEvent, Contact } from "../../schemas/events.js";

const name = (contact: Contact): string => contact.display_name ?? contact.phone_number ?? contact.id;

function line(event: BridgeEvent): string | undefined {
  switch (event.type) {
    case "messaging.message.received.v1":
      return `${name(event.data.contact)}: ${event.data.content["text"] ?? event.data.message_type}`;
    case "messaging.call.v1":
      return `${name(event.data.contact)} calls: ${event.data.status}`;
    case "messaging.connection.closed.v1":
      return `device ${event.data.device_id} is offline: ${event.data.reason ?? "no reason given"}`;
    case "messaging.connection.auth.v1":
      return `device ${event.data.device_id} waits for pairing`; // never the code: it is a credential
    default:
      return undefined; // types may be added
  }
}

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const connection = await connect({ servers, maxReconnectAttempts: -1 });
process.once("SIGINT", () => void connection.close());
const consumer = await jetstream(connection).consumers.get("EVENTS", {
  deliver_policy: DeliverPolicy.New,
  filter_subjects: "events.>",
});
const messages = await consumer.consume();
console.log("listening");
for await (const message of messages) {
  const event = message.json<BridgeEvent>();
  const text = line(event);
  if (text !== undefined) console.log(event.time, text);
}
