// One frame for each address: a phone, a browser, a mailbox, or a server of the app's own.
import { make } from "./dom.js";
import { mailbox } from "./mail.js";
import { deviceOf, nameOf } from "./providers.js";
import { desktop, lockScreen } from "./push.js";
import { bubbles, conversation } from "./sms.js";
import { log } from "./webhook.js";
import { ago, clock, say } from "./words.js";

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
  const node = make("article", { class: "unit", style: { "--hue": hue(phone.address) } }, frame(phone, data, open), caption(phone));
  const refresh = (next, signature) => {
    node.querySelector(".thread")?.replaceChildren(...bubbles(next, open));
    node.querySelector(".caption")?.replaceWith(caption(next));
    shown.get(phone.address).signature = signature;
    settle(node);
    return true;
  };
  return { node, refresh };
}

function frame(phone, data, open) {
  if (phone.kind === "webhook") return make("div", { class: "server" }, log(phone, open));
  const device = phone.kind === "push" ? deviceOf(phone.provider) : "";
  if (device === "browser") return make("div", { class: "monitor" }, desktop(phone, open));
  const screen = phone.kind === "push" ? lockScreen(phone, open) : phone.kind === "email" ? mailbox(phone, open) : conversation(phone, data, open);
  return make("div", { class: `phone ${phone.kind} ${device}` }, make("div", { class: "screen" }, statusBar(), screen));
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
  return make("footer", { class: "caption" }, make("code", { title: phone.address }, phone.provider === "webpush" ? `…/${phone.address.split("/").pop()}` : phone.address),
    make("span", {}, `${nameOf(phone.provider)} · ${count}`, phone.stopped ? make("b", {}, say("stopped")) : null));
}

const HUES = [206, 222, 248, 268, 292, 322, 340, 8, 172, 190]; // wallpapers people would choose

function hue(text) {
  let value = 7;
  for (const char of text) value = (value * 31 + char.codePointAt(0)) % 3600;
  return HUES[value % HUES.length];
}
