// Mail: a mailbox on a phone, and one mail opened. Its HTML is a page of its own that can do nothing (see mail_view.py).
import { make, tell } from "./dom.js";
import { ago, say } from "./words.js";

const HUES = [212, 262, 330, 12, 38, 150, 186];

export function mailbox(phone, open) {
  const rows = [...phone.messages].reverse().map((message) => row(message, open));
  return make("div", { class: "mailbox" },
    make("div", { class: "mailbox-head" }, make("strong", {}, say("inboxTitle")), make("span", {}, String(phone.total))),
    make("div", { class: "mail-list" }, ...rows), make("div", { class: "home" }));
}

function row(message, open) {
  const from = sender(message.from);
  return make("button", { class: "mail", type: "button", onclick: () => open(message.seq) },
    make("span", { class: "avatar", style: { "--hue": hue(from) }, "aria-hidden": "true" }, [...from][0]?.toUpperCase() ?? "?"),
    make("span", { class: "mail-words" },
      make("span", { class: "mail-top" }, make("b", { dir: "auto" }, from), make("time", { "data-time": message.time }, ago(message.time))),
      make("span", { class: "mail-subject", dir: "auto" }, message.title || say("noSubject")),
      make("span", { class: "mail-snippet", dir: "auto" }, (message.body ?? "").replace(/\s+/g, " ").slice(0, 140))));
}

function sender(from = "") {
  return from.replace(/<[^<>]*>\s*$/, "").replace(/^\s*"|"\s*$/g, "").trim() || from;
}

function hue(text) {
  let value = 7;
  for (const char of text) value = (value * 31 + char.codePointAt(0)) % 3600;
  return HUES[value % HUES.length];
}

export function drawMail(root, record, rows, close) {
  const views = { mailHtml: htmlView, mailText: textView, mailHeaders: headersView };
  const view = make("div", { class: "mail-view" });
  const tabs = Object.keys(views).map((word) => make("button", { type: "button", role: "tab", "data-view": word, onclick: () => choose(word) }, say(word)));
  const choose = (word) => {
    for (const tab of tabs) tab.setAttribute("aria-selected", String(tab.dataset.view === word));
    view.replaceChildren(...views[word](record, rows));
  };
  root.replaceChildren(
    make("div", { class: "detail-head" }, make("h2", {}, say("mail")), make("button", { type: "button", class: "quiet", onclick: close }, say("close"))),
    make("div", { class: "mail-title" }, make("h3", { dir: "auto" }, record.title || say("noSubject")),
      make("p", {}, make("span", { dir: "auto" }, record.from), " → ", record.to), leave(record)),
    make("div", { class: "tabs mail-tabs", role: "tablist" }, ...tabs), view);
  const asked = new URLSearchParams(location.search).get("view");
  choose(asked in views ? asked : record.html ? "mailHtml" : "mailText");
}

function htmlView(record) {
  const frame = make("iframe", { sandbox: true, src: `/sandbox/mail/${record.seq}`, title: record.title || say("noSubject"), referrerpolicy: "no-referrer" });
  const links = (record.links ?? []).map((link) => make("li", {}, make("a", { href: link, target: "_blank", rel: "noopener noreferrer nofollow" }, link)));
  return [frame, make("p", { class: "hint" }, say("noImages")),
    links.length ? make("div", { class: "mail-links" }, make("h3", {}, say("links")), make("ul", {}, ...links)) : ""];
}

function textView(record) {
  return [make("pre", { tabindex: "0", class: "mail-text", dir: "auto" }, record.body)];
}

function headersView(record, rows) {
  const headers = record.headers.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  return [make("dl", { class: "mail-headers" }, ...headers), make("dl", {}, ...rows)];
}

// As mail programs do it: their own button, their own POST. Nothing in the mail is followed.
function leave(record) {
  if (!record.unsubscribe) return "";
  const button = make("button", { type: "button", class: "quiet", onclick: async () => {
    try {
      const { status } = await tell("/sandbox/unsubscribe", { seq: record.seq });
      button.textContent = say("left", { s: status });
    } catch {
      button.textContent = say("leaveFailed");
    }
  } }, say("leave"));
  return button;
}
