// Fault switches and what was refused, and the drawer with one accepted request.
import { ask, make, tell } from "./dom.js";
import { drawMail } from "./mail.js";
import { ago, instant, known, say } from "./words.js";

const PROVIDERS = { fcm: "FCM", twilio: "Twilio", smtp: "SMTP" };
const HTTP = ["fcm", "twilio"];
const ROWS = [
  ["storm", { kind: "status", status: 503 }, HTTP], ["tooMany", { kind: "status", status: 429, retry_after: "7" }, HTTP],
  ["busy", { kind: "status", status: 451, code: "4.7.1" }, ["smtp"]], ["policy", { kind: "status", status: 550, code: "5.7.1", stage: "data" }, ["smtp"]],
  ["silence", { kind: "silence" }], ["resetBefore", { kind: "reset_before" }], ["resetAfter", { kind: "reset_after" }],
  ["slow", { kind: "slow" }], ["html", { kind: "html" }, HTTP], ["truncated", { kind: "truncated" }, HTTP],
  ["dead", { kind: "dead_address" }], ["undelivered", { kind: "undelivered" }, ["twilio"]],
];
const SHARES = [1, 0.5, 0.1];
let share = 1;
let drawn = "";

export function drawPanel(root, data, changed) {
  const signature = JSON.stringify([document.documentElement.lang, data.faults, data.refusals, data.inbound, share]);
  if (signature === drawn) return;
  drawn = signature;
  const focused = root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  root.replaceChildren(...[heading(changed, root, data), matrix(data.faults, changed), others(data.faults, changed), refusals(data)].filter(Boolean));
  if (focused) root.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function heading(changed, root, data) {
  const select = make("select", { "aria-label": say("share"), "data-key": "share", onchange: () => { share = Number(select.value); drawn = ""; drawPanel(root, data, changed); } },
    ...SHARES.map((value) => make("option", { value, selected: value === share }, `${value * 100} %`)));
  const expire = make("button", { type: "button", class: "quiet", "data-key": "expire", onclick: async () => {
    await tell("/sandbox/faults", { provider: "fcm", kind: "expire_tokens" });
    expire.textContent = say("expired");
  } }, say("expire"));
  return make("div", { class: "panel-head" }, make("h2", {}, say("panelTitle")), make("p", {}, say("panelHint")),
    make("div", { class: "row" }, make("label", { class: "share" }, say("share"), select)),
    make("div", { class: "row" }, make("button", { type: "button", class: "quiet", "data-key": "off", disabled: data.faults.length === 0,
      onclick: async () => { await tell("/sandbox/faults", undefined, "DELETE"); changed(); } }, say("allOff")), expire));
}

function matches(fault, provider, setting) {
  return fault.provider === provider && fault.kind === setting.kind && fault.status === setting.status && (provider !== "smtp" || fault.code === setting.code) && !fault.match && !fault.times;
}

function matrix(faults, changed) {
  const rows = ROWS.map(([word, setting, only]) => make("tr", {}, make("th", { scope: "row" }, say(word)),
    ...Object.keys(PROVIDERS).map((provider) => make("td", {}, !only || only.includes(provider) ? toggle(faults, provider, setting, word, changed) : null))));
  return make("table", { class: "matrix" },
    make("thead", {}, make("tr", {}, make("td"), ...Object.values(PROVIDERS).map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows));
}

function toggle(faults, provider, setting, word, changed) {
  const on = faults.find((fault) => matches(fault, provider, setting));
  const flip = async () => {
    if (on) await tell(`/sandbox/faults/${on.number}`, undefined, "DELETE");
    else await tell("/sandbox/faults", { provider, ...setting, probability: share });
    changed();
  };
  const label = `${PROVIDERS[provider]}: ${say(word)}`;
  return make("button", { type: "button", role: "switch", class: "switch", "aria-checked": String(Boolean(on)), "aria-label": label,
    title: on ? say("hits", { n: on.hits }) : label, "data-key": `${provider}-${word}`, onclick: flip }, make("i"));
}

function others(faults, changed) {
  const rest = faults.filter((fault) => !ROWS.some(([, setting]) => Object.keys(PROVIDERS).some((provider) => matches(fault, provider, setting))));
  if (!rest.length) return null;
  return make("div", { class: "chips" }, make("h3", {}, say("otherFaults")), ...rest.map((fault) =>
    make("button", { type: "button", class: "chip", title: say("hits", { n: fault.hits }), onclick: async () => { await tell(`/sandbox/faults/${fault.number}`, undefined, "DELETE"); changed(); } },
      `${fault.provider} ${fault.kind} ${fault.status ?? ""} ${fault.match ?? ""}`.trim(), make("span", {}, "×"))));
}

function refusals(data) {
  const rows = data.refusals.slice(0, 6).map((entry) => make("li", {},
    make("span", { class: "code" }, `${entry.status}`),
    make("span", {}, make("span", { class: "why" }, entry.words), make("span", { class: "who" }, entry.to, " · ", make("time", { "data-time": entry.time }, ago(entry.time))))));
  return make("div", { class: "refusals" }, make("h3", {}, say("refusalsTitle")),
    rows.length ? make("ul", {}, ...rows) : make("p", {}, say("noRefusals")), data.inbound ? null : make("p", { class: "note" }, say("noInbound")));
}

const FIELDS = ["provider", "to", "seq", "time", "expires_at", "message_id", "collapse_key", "id", "link", "encoding", "parts", "fate", "sender"];

export async function drawDetail(root, seq, close) {
  const { messages: [record] } = await ask(`/sandbox/messages?after=${seq - 1}&limit=1`);
  const rows = FIELDS.filter((name) => record[name] != null && record[name] !== "").flatMap((name) => {
    const value = ["time", "expires_at"].includes(name) ? instant(record[name]) : String(record[name]);
    return [make("dt", {}, say(`f_${name}`)), make("dd", {}, name === "fate" && known(`s_${value}`) ? say(`s_${value}`) : value)];
  });
  const mail = ["smtp", "ses", "sendgrid"].includes(record.provider);
  root.classList.toggle("wide", mail);
  if (mail) return drawMail(root, record, rows, close);
  root.replaceChildren(
    make("div", { class: "detail-head" }, make("h2", {}, say("detail")), make("button", { type: "button", class: "quiet", onclick: close }, say("close"))),
    make("blockquote", { dir: "auto" }, record.title ? make("strong", {}, record.title) : null, record.body),
    make("dl", {}, ...rows), make("h3", {}, say("raw")), make("pre", { tabindex: "0" }, JSON.stringify(record.request, null, 2)));
}
