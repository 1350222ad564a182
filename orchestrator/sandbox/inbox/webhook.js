// Webhooks: what the app's own server was posted, as JSON that a person can read.
import { make } from "./dom.js";
import { ago } from "./words.js";

export function log(phone, open) {
  const entries = [...phone.messages].reverse().map((message) => entry(message, open));
  return make("div", { class: "log" }, ...entries);
}

function entry(message, open) {
  return make("button", { class: "post", type: "button", onclick: () => open(message.seq) },
    make("span", { class: "post-head" }, make("b", {}, "POST"), make("code", {}, message.payload?.type ?? "message"),
      make("time", { "data-time": message.time }, ago(message.time))),
    make("span", { class: "json", dir: "ltr" }, ...coloured(message.payload ?? {})));
}

const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?/g;

// Names, texts and numbers in their colours; all of it goes in as text.
export function coloured(value) {
  const text = JSON.stringify(value, null, 2);
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    nodes.push(text.slice(at, match.index));
    if (match[2]) nodes.push(make("i", { class: "name" }, match[1]), match[2]);
    else nodes.push(make("i", { class: match[1] ? "string" : "number" }, match[0]));
    at = match.index + match[0].length;
  }
  nodes.push(text.slice(at));
  return nodes;
}
