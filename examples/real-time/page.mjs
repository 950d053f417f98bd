// The page, and its events by server-sent events. A browser that was away asks from the last event it saw
// (Last-Event-ID, or `after` where the page asks itself), and as long as the stream has them it misses none.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { DeliverPolicy, jetstream } from "@nats-io/jetstream";
import { STREAM, TOPICS } from "./topics.mjs";

const FILES = {
  "/": ["page.html", "text/html; charset=utf-8"],
  "/page.css": ["page.css", "text/css"],
  "/client.js": ["client.js", "text/javascript"],
};
const HEADERS = { "content-security-policy": "default-src 'self'; frame-ancestors 'none'", "cache-control": "no-store" };
const BEAT_MS = 15_000; // proxies close what is silent

// Until the browser has taken what it was sent, or is gone; no listener is left behind.
async function taken(response) {
  const done = new AbortController();
  const either = ["drain", "close"].map((name) => once(response, name, { signal: done.signal }));
  await Promise.race(either).finally(() => done.abort());
}

async function events(connection, after, response) {
  const seen = Number(after);
  const from = seen > 0 ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: seen + 1 } : { deliver_policy: DeliverPolicy.New };
  const consumer = await jetstream(connection).consumers.get(STREAM, { filter_subjects: TOPICS, ...from });
  const messages = await consumer.consume({ max_messages: 100 }); // asks for more as the browser takes them
  const beat = setInterval(() => response.write(":\n\n"), BEAT_MS);
  const end = () => {
    clearInterval(beat);
    messages.close();
  };
  response.once("close", end);
  if (response.destroyed) return end(); // gone while the stream was asked
  response.writeHead(200, { ...HEADERS, "content-type": "text/event-stream" });
  response.write("retry: 1000\n\n");
  for await (const message of messages) {
    if (response.destroyed) break;
    const event = message.string().replaceAll(/[\r\n]/g, " "); // the same JSON, on one line
    if (!response.write(`id: ${message.seq}\ndata: ${event}\n\n`)) await taken(response);
  }
  response.end(); // so that the browser comes again
}

export async function serve(connection, listen) {
  const [host, port] = listen.split(":");
  const server = createServer(async (request, response) => {
    try {
      const { pathname, searchParams } = new URL(request.url, `http://${listen}`);
      if (request.headers.host !== listen) response.writeHead(421).end(); // a foreign name that leads here: not ours
      else if (pathname === "/events") await events(connection, request.headers["last-event-id"] ?? searchParams.get("after"), response);
      else if (FILES[pathname]) {
        const [file, type] = FILES[pathname];
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
