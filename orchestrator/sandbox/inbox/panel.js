// Fault switches: what one provider can be told to suffer; what is on everywhere; what was refused.
import { ask, make, tell } from "./dom.js";
import { nameOf } from "./providers.js";
import { ago, known, say } from "./words.js";

// A kind that has more than one useful setting has a row for each; the others have one, named after the kind.
const SETTINGS = {
  status: [["storm", { status: 503 }], ["tooMany", { status: 429, retry_after: "7" }]],
  silence: [["silence", {}], ["silenceAccepted", { accept: true }]],
  delay: [["delay", { seconds: 5 }], ["delayAccepted", { seconds: 5, accept: true }]],
  late: [["late", { seconds: 30 }]],
};
const MAIL = { status: [["busy", { status: 451, code: "4.7.1" }], ["policy", { status: 550, code: "5.7.1", stage: "data" }]] };
const SHARES = [1, 0.5, 0.1];
const DEFAULTS = { code: null, retry_after: null, accept: null, stage: "rcpt", status: null };
let share = 1;
let chosen = "fcm";
let able = null;
let drawn = "";

export async function drawPanel(root, data, changed) {
  able ??= (await ask("/sandbox/faults")).can_suffer;
  const signature = JSON.stringify([document.documentElement.lang, data.faults, data.refusals, data.inbound, share, chosen]);
  if (signature === drawn) return;
  drawn = signature;
  const again = () => { drawn = ""; drawPanel(root, data, changed); };
  const focused = root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  root.replaceChildren(...[heading(changed, data, again), switches(data.faults, changed), active(data.faults, changed), refusals(data)].filter(Boolean));
  if (focused) root.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function heading(changed, data, again) {
  const on = new Set(data.faults.map((fault) => fault.provider));
  const who = make("select", { "aria-label": say("provider"), "data-key": "who", onchange: () => { chosen = who.value; again(); } },
    ...Object.keys(able).map((name) => make("option", { value: name, selected: name === chosen }, `${nameOf(name)}${on.has(name) ? " ●" : ""}`)));
  const much = make("select", { "aria-label": say("share"), "data-key": "share", onchange: () => { share = Number(much.value); again(); } },
    ...SHARES.map((value) => make("option", { value, selected: value === share }, `${value * 100} %`)));
  return make("div", { class: "panel-head" }, make("h2", {}, say("panelTitle")), make("p", {}, say("panelHint")),
    make("label", { class: "share" }, say("provider"), who), make("label", { class: "share" }, say("share"), much));
}

function rows(provider) {
  return able[provider].flatMap((kind) => {
    const settings = (provider === "smtp" && MAIL[kind]) || SETTINGS[kind] || [[`k_${kind}`, {}]];
    return settings.map(([word, options]) => [word, { kind, ...options }]);
  });
}

function switches(faults, changed) {
  const list = rows(chosen).map(([word, setting]) => make("li", {}, make("span", {}, known(word) ? say(word) : setting.kind), toggle(faults, setting, word, changed)));
  return make("ul", { class: "switches" }, ...list);
}

function matches(fault, setting) {
  const same = Object.entries(DEFAULTS).every(([name, usual]) => String(fault[name] ?? usual) === String(setting[name] ?? usual));
  return fault.provider === chosen && fault.kind === setting.kind && same && !fault.match && !fault.times;
}

function toggle(faults, setting, word, changed) {
  const label = `${nameOf(chosen)}: ${known(word) ? say(word) : setting.kind}`;
  if (setting.kind === "expire_tokens") { // at once, and only once
    const button = make("button", { type: "button", class: "once", "aria-label": label, "data-key": word, onclick: async () => {
      await tell("/sandbox/faults", { provider: chosen, kind: setting.kind });
      button.textContent = say("expired");
    } }, say("once"));
    return button;
  }
  const on = faults.find((fault) => matches(fault, setting));
  const flip = async () => {
    if (on) await tell(`/sandbox/faults/${on.number}`, undefined, "DELETE");
    else await tell("/sandbox/faults", { provider: chosen, ...setting, probability: share });
    changed();
  };
  return make("button", { type: "button", role: "switch", class: "switch", "aria-checked": String(Boolean(on)), "aria-label": label,
    title: on ? say("hits", { n: on.hits }) : label, "data-key": `${chosen}-${word}`, onclick: flip }, make("i"));
}

function active(faults, changed) {
  if (!faults.length) return null;
  const remove = async (path) => { await tell(path, undefined, "DELETE"); changed(); };
  const chips = faults.map((fault) => make("button", { type: "button", class: "chip", title: say("hits", { n: fault.hits }), onclick: () => remove(`/sandbox/faults/${fault.number}`) },
    [nameOf(fault.provider), fault.kind, fault.status, fault.match].filter(Boolean).join(" "), make("span", {}, "×")));
  return make("div", { class: "chips" }, make("h3", {}, say("activeFaults")), ...chips,
    make("button", { type: "button", class: "quiet", "data-key": "off", onclick: () => remove("/sandbox/faults") }, say("allOff")));
}

function refusals(data) {
  const list = data.refusals.slice(0, 6).map((entry) => make("li", {},
    make("span", { class: "code" }, `${entry.status}`),
    make("span", {}, make("span", { class: "why" }, `${nameOf(entry.provider)}: ${entry.words}`),
      make("span", { class: "who" }, entry.to ? `${entry.to} · ` : "", make("time", { "data-time": entry.time }, ago(entry.time))))));
  return make("div", { class: "refusals" }, make("h3", {}, say("refusalsTitle")),
    list.length ? make("ul", {}, ...list) : make("p", {}, say("noRefusals")), data.inbound ? null : make("p", { class: "note" }, say("noInbound")));
}
