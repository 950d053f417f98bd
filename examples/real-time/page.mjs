// The page, and its events by server-sent events. A browser that was away asks from the last event it saw
// (Last-Event-ID), and as long as the stream has them it misses none.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { DeliverPolicy, jetstream } from "@nats-io/jetstream";
import { STREAM, TOPICS } from "./topics.mjs";

const FILES = { "/": ["page.html", "text/html; charset=utf-8"], "/client.js": ["client.js", "text/javascript"] };
const HEADERS = { "content-security-policy": "default-src 'self'; frame-ancestors 'none'", "cache-control": "no-store" };
const BEAT_MS = 15_000; // proxies close what is silent

async function events(connection, request, response) {
  const seen = Number(request.headers["last-event-id"]);
  const from = seen > 0 ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: seen + 1 } : { deliver_policy: DeliverPolicy.New };
  const consumer = await jetstream(connection).consumers.get(STREAM, { filter_subjects: TOPICS, ...from });
  const messages = await consumer.consume({ max_messages: 100 }); // asks for more as the browser takes them
  response.writeHead(200, { ...HEADERS, "content-type": "text/event-stream" });
  response.write("retry: 1000\n\n");
  const beat = setInterval(() => response.write(":\n\n"), BEAT_MS);
  response.once("close", () => {
    clearInterval(beat);
    messages.close();
  });
  for await (const message of messages) {
    const event = message.string().replaceAll(/[\r\n]/g, " "); // the same JSON, on one line
    if (!response.write(`id: ${message.seq}\ndata: ${event}\n\n`)) await Promise.race([once(response, "drain"), once(response, "close")]);
  }
}

export async function serve(connection, listen) {
  const [host, port] = listen.split(":");
  const server = createServer(async (request, response) => {
    try {
      if (request.headers.host !== listen) response.writeHead(421).end(); // a foreign name that leads here: not ours
      else if (request.url === "/events") await events(connection, request, response);
      else if (FILES[request.url]) {
        const [file, type] = FILES[request.url];
        response.writeHead(200, { ...HEADERS, "content-type": type }).end(await readFile(new URL(file, import.meta.url)));
      } else response.writeHead(404).end();
    } catch (error) {
      console.error("the page:", error.message);
      response.destroy(); // the browser comes again by itself
    }
  });
  server.listen(Number(port), host);
  await once(server, "listening");
  console.log(`the page: http://${listen}`);
  await once(server, "close");
}
