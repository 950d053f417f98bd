// Forwards each event to another HTTP service, in order, until it is taken.
//
// At least once: the event's id goes along as Idempotency-Key, for the service to know copies by. One at a time: with
// max_ack_pending 1 an event that is tried again holds back those behind it, so that order is kept.

import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { STREAM, TOPICS } from "./topics.mjs";

const NAME = "forwarder";
const LONGEST_MS = 60_000;
const TIMEOUT_MS = 10_000;
const REFUSED = [400, 409, 413, 415, 422]; // what is said of the event itself; all else is about the address, the key or the hour

async function post(url, id, message) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/cloudevents+json", "idempotency-key": id },
    body: message.data,
    redirect: "manual", // events go to this address and to no other
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  await answer.body?.cancel();
  return answer;
}

export async function forward(connection, url) {
  const manager = await jetstreamManager(connection);
  const ours = { filter_subjects: TOPICS, ack_policy: AckPolicy.Explicit, ack_wait: 30e9, max_ack_pending: 1 }; // 30 s in ns
  await manager.consumers.add(STREAM, { durable_name: NAME, deliver_policy: DeliverPolicy.New, ...ours });
  const consumer = await jetstream(connection).consumers.get(STREAM, NAME);
  console.log("forwarding to", new URL(url).origin); // the rest of it may be a secret
  for await (const message of await consumer.consume({ max_messages: 1 })) {
    const id = message.headers?.get("ce-id") || `sequence-${message.seq}`; // what others put on the topic may have none
    const backoff = Math.min(LONGEST_MS, 500 * 2 ** (message.info.deliveryCount - 1));
    try {
      const { status, headers } = await post(url, id, message);
      if (status >= 200 && status < 300) {
        message.ack();
        console.log(id, "taken");
      } else if (REFUSED.includes(status)) {
        message.term(`refused: ${status}`); // it will be refused the next time, too
        console.error(id, "refused:", status);
      } else {
        const asked = 1000 * Number(headers.get("retry-after"));
        message.nak(asked > 0 ? Math.min(asked, LONGEST_MS) : backoff);
        console.log(id, "again:", status);
      }
    } catch (error) {
      message.nak(backoff);
      console.log(id, "again:", error.cause?.code ?? error.name);
    }
  }
}
