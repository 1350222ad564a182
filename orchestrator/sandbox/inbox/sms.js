// Text messages: a conversation, and what is written back.
import { make, tell } from "./dom.js";
import { nameOf } from "./providers.js";
import { ago, known, say } from "./words.js";

export function conversation(phone, data, open) {
  return make("div", { class: "talk" },
    make("div", { class: "talk-head" }, make("span", { class: "face" }, "@"), make("span", { dir: "auto" }, sender(phone, data))),
    make("div", { class: "thread" }, ...bubbles(phone, open)), replyBox(phone), make("div", { class: "home" }));
}

function sender(phone, data) {
  const last = phone.messages.at(-1);
  if (last?.from) return last.from;
  return phone.provider === "twilio" ? data.sender : nameOf(phone.provider);
}

export function bubbles(phone, open) {
  const sent = phone.messages.map((message) => ({ time: message.time, nodes: text(message, open) }));
  const answered = phone.replies.map((reply) => ({ time: reply.time, nodes: answer(reply) }));
  const all = [...sent, ...answered].sort((a, b) => a.time - b.time);
  const first = all[0];
  const head = first ? [make("div", { class: "stamp" }, `${say("textMessage")} · `, make("time", { "data-time": first.time }, ago(first.time)))] : [];
  return [...head, ...all.flatMap((each) => each.nodes)];
}

function text(message, open) {
  const status = message.status ?? fate(message.fate);
  const parts = message.parts ? say(message.parts === 1 ? "part" : "parts", { n: message.parts, e: message.encoding }) : null;
  const said = [parts, known(`s_${status}`) ? say(`s_${status}`) : status].filter(Boolean).join(" · ");
  return [make("div", { class: "bubble in", dir: "auto" }, ...linked(message.body ?? "")),
    make("button", { class: `meta ${status}`, type: "button", title: say("detail"), onclick: () => open(message.seq) }, said)];
}

function fate(word) {
  if (!word) return "sent";
  return word === "DELIVERED" || word === "delivered" ? "delivered" : "undelivered";
}

// Addresses in a text can be tapped, as on a phone.
export function linked(body) {
  return body.split(/(https?:\/\/[^\s<>"，。）]+)/).map((part, i) =>
    i % 2 ? make("a", { href: part, target: "_blank", rel: "noopener noreferrer nofollow" }, part) : part);
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
  const write = async (said) => {
    if (!said.trim()) return;
    try {
      await tell("/sandbox/reply", { to: phone.address, text: said });
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
