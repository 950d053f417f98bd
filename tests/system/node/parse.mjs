// parse.mjs MODULES FILE…: each AsyncAPI document by the official parser; its diagnostics as a line of JSON.
import fs from "node:fs";
import { createRequire } from "node:module";

const [modules, ...files] = process.argv.slice(2);
const { Parser } = createRequire(`${modules}/`)("@asyncapi/parser");

for (const file of files) {
  const { document, diagnostics } = await new Parser().parse(fs.readFileSync(file, "utf8"));
  const channels = document?.channels().all() ?? [];
  const messages = channels.map((channel) => [channel.address(), channel.messages().all().map((message) => message.name())]);
  console.log(JSON.stringify({ channels: Object.fromEntries(messages), diagnostics }));
}
