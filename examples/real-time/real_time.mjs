// Real-time integration: a page fed from the topics by server-sent events, and events forwarded to another service.

import { connect } from "@nats-io/transport-node";
import { serve } from "./page.mjs";
import { forward } from "./forward.mjs";

const { NATS_URL = "nats://127.0.0.1:4222", LISTEN = "127.0.0.1:8091", FORWARD_URL } = process.env;

function end(text) {
  console.error(text);
  process.exit(1);
}

if (!/^[^:]+:\d+$/.test(LISTEN)) end(`LISTEN=${LISTEN}: expected host:port, such as 127.0.0.1:8091`);
if (FORWARD_URL && !/^https?:\/\/./.test(FORWARD_URL)) end("FORWARD_URL: expected http://… or https://…");
const connection = await connect({ servers: NATS_URL, maxReconnectAttempts: -1 }).catch((error) => end(`the broker: ${error.message}`));
const working = [serve(connection, LISTEN)];
if (FORWARD_URL) working.push(forward(connection, FORWARD_URL));
process.once("SIGINT", () => process.exit());
await Promise.race(working).catch((error) => end(error.message)); // each goes on for ever or fails
