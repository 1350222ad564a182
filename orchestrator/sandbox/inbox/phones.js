// The phones: a lock screen for a push token, a conversation for a number.
import { make, tell } from "./dom.js";
import { mailbox } from "./mail.js";
import { ago, clock, day, say, known } from "./words.js";

const shown = new Map(); // address -> {node, signature}

export function drawPhones(root, data, open) {
  const addresses = new Set(data.phones.map((phone) => phone.address));
  for (const [address, { node }] of shown) {
    if (!addresses.has(address) && !busy(node)) { node.remove(); shown.delete(address); }
  }
  let previous = null;
  for (const phone of data.phones) {
    const node = current(phone, data, open);
    const place = previous ? previous.nextSibling : root.firstChild;
    if (node !== place && !busy(node)) root.insertBefore(node, place);
    previous = node;
  }
}

export function forget() {
  for (const { node } of shown.values()) node.remove();
  shown.clear();
}

export function refreshTimes() {
  for (const node of document.querySelectorAll("[data-time]")) node.textContent = ago(Number(node.dataset.time));
  for (const node of document.querySelectorAll("[data-clock]")) node.textContent = clock();
}

// A phone somebody is writing on stays where it is.
function busy(node) {
  const input = node.querySelector("input");
  return Boolean(input) && (input === document.activeElement || input.value !== "");
}

function current(phone, data, open) {
  const signature = JSON.stringify([phone.total, phone.replies.length, phone.stopped, phone.messages.map((m) => m.status)]);
  const kept = shown.get(phone.address);
  if (kept && (kept.signature === signature || (busy(kept.node) && kept.refresh(phone, signature)))) return kept.node;
  const fresh = draw(phone, data, open);
  if (kept) kept.node.replaceWith(fresh.node);
  shown.set(phone.address, { ...fresh, signature });
  settle(fresh.node);
  requestAnimationFrame(() => settle(fresh.node));
  return fresh.node;
}

function settle(node) {
  const thread = node.querySelector(".thread");
  if (thread) thread.scrollTop = thread.scrollHeight;
}

function draw(phone, data, open) {
  const screen = phone.kind === "push" ? lockScreen(phone, open) : phone.kind === "email" ? mailbox(phone, open) : conversation(phone, data, open);
  const frame = make("div", { class: `phone ${phone.kind}`, style: { "--hue": hue(phone.address) } },
    make("div", { class: "screen" }, statusBar(), screen));
  const node = make("article", { class: "unit" }, frame, caption(phone));
  const refresh = (next, signature) => {
    node.querySelector(".thread")?.replaceChildren(...bubbles(next, open));
    node.querySelector(".caption")?.replaceWith(caption(next));
    shown.get(phone.address).signature = signature;
    settle(node);
    return true;
  };
  return { node, refresh };
}

function statusBar() {
  const bars = [3, 5, 7, 9].map((height, i) => make("rect", { x: i * 4, y: 10 - height, width: 3, height, rx: 1 }));
  const battery = [make("rect", { x: 22, y: 1, width: 17, height: 9, rx: 2.5, class: "case" }),
    make("rect", { x: 23.5, y: 2.5, width: 11, height: 6, rx: 1.2 }), make("rect", { x: 40, y: 4, width: 1.5, height: 3, rx: 0.7 })];
  return make("div", { class: "status" }, make("span", { "data-clock": true }, clock()), make("span", { class: "island" }),
    make("svg", { viewBox: "0 0 42 11", "aria-hidden": "true" }, ...bars, ...battery));
}

function caption(phone) {
  const count = phone.total === 1 ? say("message") : say("messages", { n: phone.total });
  return make("footer", { class: "caption" }, make("code", { title: phone.address }, phone.address),
    make("span", {}, count, phone.stopped ? make("b", {}, say("stopped")) : null));
}

function lockScreen(phone, open) {
  const cards = collapsed(phone.messages).map(({ message, times }) => card(message, times, open));
  return make("div", { class: "lock" },
    make("div", { class: "lock-day" }, day()), make("div", { class: "lock-time", "data-clock": true }, clock()),
    make("div", { class: "cards" }, ...cards), make("div", { class: "home" }));
}

// What carries the same tag replaces what was shown before, as on a real phone.
function collapsed(messages) {
  const groups = new Map();
  for (const message of messages) {
    const key = message.tag ?? message.collapse_key ?? message.seq;
    const times = (groups.get(key)?.times ?? 0) + 1;
    groups.delete(key);
    groups.set(key, { message, times });
  }
  return [...groups.values()].reverse();
}

function card(message, times, open) {
  const bell = make("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" },
    make("path", { d: "M10 3a4.5 4.5 0 0 0-4.5 4.5c0 4-1.5 5-1.5 5h12s-1.5-1-1.5-5A4.5 4.5 0 0 0 10 3zM8.3 15a1.8 1.8 0 0 0 3.4 0" }));
  return make("button", { class: "card", type: "button", onclick: () => open(message.seq) },
    make("span", { class: "icon" }, bell),
    make("span", { class: "words" },
      make("span", { class: "top" }, make("span", {}, say("app")), make("time", { "data-time": message.time }, ago(message.time))),
      make("strong", { dir: "auto" }, message.title ?? ""), make("span", { class: "text", dir: "auto" }, message.body ?? ""),
      times > 1 ? make("em", {}, say("replaced", { n: times })) : null));
}

function conversation(phone, data, open) {
  return make("div", { class: "talk" },
    make("div", { class: "talk-head" }, make("span", { class: "face" }, "@"), make("span", {}, data.sender)),
    make("div", { class: "thread" }, ...bubbles(phone, open)), replyBox(phone), make("div", { class: "home" }));
}

function bubbles(phone, open) {
  const sent = phone.messages.map((message) => ({ time: message.time, nodes: sms(message, open) }));
  const answered = phone.replies.map((reply) => ({ time: reply.time, nodes: answer(reply) }));
  const all = [...sent, ...answered].sort((a, b) => a.time - b.time);
  const first = all[0];
  const head = first ? [make("div", { class: "stamp" }, `${say("textMessage")} · `, make("time", { "data-time": first.time }, ago(first.time)))] : [];
  return [...head, ...all.flatMap((each) => each.nodes)];
}

function sms(message, open) {
  const status = known(`s_${message.status}`) ? say(`s_${message.status}`) : message.status;
  const parts = say(message.parts === 1 ? "part" : "parts", { n: message.parts, e: message.encoding });
  return [make("button", { class: "bubble in", type: "button", dir: "auto", onclick: () => open(message.seq) }, message.body ?? ""),
    make("div", { class: `meta ${message.status}` }, `${parts} · ${status}`)];
}

function answer(reply) {
  const word = reply.text.trim().toUpperCase();
  const stop = ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"].includes(word);
  const start = ["START", "YES", "UNSTOP"].includes(word);
  const auto = stop ? say("autoStop") : start ? say("autoStart") : null;
  return [make("div", { class: "bubble out", dir: "auto" }, reply.text), auto ? make("div", { class: "bubble in auto" }, auto) : null].filter(Boolean);
}

function replyBox(phone) {
  const input = make("input", { placeholder: say("reply"), "aria-label": say("reply"), maxlength: 1600, autocomplete: "off" });
  const write = async (text) => {
    if (!text.trim()) return;
    try {
      await tell("/sandbox/reply", { to: phone.address, text });
      input.value = "";
      input.blur();
      document.dispatchEvent(new Event("sandbox-changed"));
    } catch {
      input.setCustomValidity(say("sendFailed"));
      input.reportValidity();
    }
  };
  input.addEventListener("input", () => input.setCustomValidity(""));
  const word = phone.stopped ? "START" : "STOP";
  const arrow = make("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, make("path", { d: "M10 16V4m0 0L5 9m5-5l5 5" }));
  return make("form", { class: "answer", onsubmit: (event) => { event.preventDefault(); write(input.value); } },
    make("button", { type: "button", class: "quick", title: say("quick", { w: word }), onclick: () => write(word) }, word),
    input, make("button", { class: "send", "aria-label": say("send") }, arrow));
}

const HUES = [206, 222, 248, 268, 292, 322, 340, 8, 172, 190]; // wallpapers people would choose

function hue(text) {
  let value = 7;
  for (const char of text) value = (value * 31 + char.codePointAt(0)) % 3600;
  return HUES[value % HUES.length];
}
