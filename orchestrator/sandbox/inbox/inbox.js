// The page: asks the sandbox once a second what is new, and draws it.
import { ask, make } from "./dom.js";
import { drawDetail } from "./detail.js";
import { drawPanel } from "./panel.js";
import { drawPhones, forget, refreshTimes } from "./phones.js";
import { nameOf, PROVIDERS } from "./providers.js";
import { language, say, switchLanguage, translatePage } from "./words.js";

const at = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const STEP = 12;
const state = { kind: asked.get("kind") ?? "all", provider: asked.get("provider") ?? "", query: asked.get("q") ?? "", limit: STEP, live: true, version: "", data: null, offline: false, marks: [] };

async function look({ force = false } = {}) {
  if (!state.live && !force) return;
  const known = force ? "" : state.version;
  const query = new URLSearchParams({ q: state.query, kind: state.kind, provider: state.provider, limit: state.limit, known }).toString();
  const question = () => JSON.stringify([state.kind, state.provider, state.query, state.limit]);
  const asking = question();
  try {
    const data = await ask(`/sandbox/inbox?${query}`);
    if (asking !== question()) return; // an answer to an older question
    if (state.offline) { state.offline = false; draw(); }
    // Statuses go on by themselves for a moment after the last message: look again before resting.
    if (data.unchanged) return;
    state.data = data;
    state.version = settled(data) ? data.version : "";
    draw();
  } catch {
    state.offline = true;
    draw();
  }
}

function settled(data) {
  return data.phones.every((phone) => phone.messages.every((message) => !["queued", "sent"].includes(message.status)));
}

function draw() {
  const data = state.data;
  if (data) {
    drawTallies(data);
    drawPanel(at("panel"), data, () => look({ force: true }));
    drawPhones(at("phones"), data, open);
    at("more").hidden = !data.more;
    at("fault-count").hidden = data.faults.length === 0;
    at("fault-count").textContent = data.faults.length;
  }
  drawNotice(data);
  refreshTimes();
}

function drawTallies(data) {
  const of = (what) => Object.values(data.counters).reduce((sum, counter) => sum + (counter[what] ?? 0), 0);
  const arrived = (kind) => Object.entries(data.accepted).filter(([provider]) => data.kinds[provider] === kind).reduce((sum, [, n]) => sum + n, 0);
  const faults = Object.values(data.counters).flatMap((counter) => Object.entries(counter))
    .filter(([what]) => what.startsWith("fault ")).reduce((sum, [, n]) => sum + n, 0);
  const tallies = [["pushes", arrived("push")], ["texts", arrived("sms")], ["mails", arrived("email")], ["webhooks", arrived("webhook")],
    ["rate", rate(Object.values(data.accepted).reduce((sum, n) => sum + n, 0))],
    ["callbacks", data.counters.callback?.posted ?? 0], ["refused", of("refused")], ["suffered", faults]];
  at("tallies").replaceChildren(...tallies.map(([word, value]) =>
    make("div", { class: `tally ${word} ${value ? "" : "none"}` }, make("b", {}, value.toLocaleString(language)), make("span", {}, say(word)))));
}

function rate(accepted) {
  const now = performance.now();
  state.marks = [...state.marks, { now, accepted }].filter((mark) => now - mark.now < 5000);
  const first = state.marks[0];
  return now - first.now < 500 ? 0 : Math.round((accepted - first.accepted) / ((now - first.now) / 1000));
}

function drawNotice(data) {
  document.querySelector(".notice")?.remove();
  const empty = !data || data.phones.length === 0;
  if (!empty && !state.offline) return;
  const words = state.offline ? [say("offline")] : state.query || state.provider || state.kind !== "all" ? [say("emptySearch")] : [say("emptyTitle"), say("empty")];
  if (!state.offline && !data) return;
  const notice = make("div", { class: "notice" }, ...words.map((text, i) => make(words.length > 1 && i === 0 ? "h2" : "p", {}, text)));
  at("phones").before(notice);
}

function redraw() {
  translatePage();
  at("language").textContent = say("other");
  drawProviders();
  at("live").querySelector("span").textContent = say(state.live ? "live" : "paused");
  forget();
  draw();
}

function drawProviders() {
  const options = [["", say("everyProvider")], ...PROVIDERS.map((name) => [name, nameOf(name)])];
  at("provider").replaceChildren(...options.map(([value, text]) => make("option", { value, selected: value === state.provider }, text)));
}

let opener = null;

async function open(seq) {
  opener = document.activeElement;
  await drawDetail(at("detail"), seq, close);
  show("detail", true);
  at("detail").querySelector("button").focus();
}

function close() {
  show("detail", false);
  at("panel").classList.remove("open");
  at("open-panel").setAttribute("aria-expanded", "false");
  at("scrim").hidden = true;
  opener?.focus();
}

function show(id, on) {
  at(id).classList.toggle("open", on);
  at(id).toggleAttribute("inert", !on);
  at(id).setAttribute("aria-hidden", String(!on));
  at("scrim").hidden = !on;
}

function choose(kind) {
  state.kind = kind;
  state.limit = STEP;
  for (const tab of at("tabs").children) tab.setAttribute("aria-pressed", String(tab.dataset.kind === kind));
  look({ force: true });
}

at("tabs").addEventListener("click", (event) => { if (event.target.dataset.kind) choose(event.target.dataset.kind); });
at("search").addEventListener("input", () => { state.query = at("search").value; state.limit = STEP; look({ force: true }); });
at("provider").addEventListener("change", () => { state.provider = at("provider").value; state.limit = STEP; look({ force: true }); });
at("more").addEventListener("click", () => { state.limit = Math.min(240, state.limit * 2); look({ force: true }); });
at("language").addEventListener("click", () => { switchLanguage(); redraw(); });
at("live").addEventListener("click", () => {
  state.live = !state.live;
  at("live").setAttribute("aria-pressed", String(state.live));
  at("live").querySelector("span").textContent = say(state.live ? "live" : "paused");
  look();
});
at("open-panel").addEventListener("click", () => {
  at("panel").classList.add("open");
  at("open-panel").setAttribute("aria-expanded", "true");
  at("scrim").hidden = false;
});
at("scrim").addEventListener("click", close);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
document.addEventListener("sandbox-changed", () => look({ force: true }));

at("search").value = state.query;
redraw();
choose(state.kind);
if (asked.get("detail")) open(Number(asked.get("detail")));
setInterval(look, 1000);
setInterval(refreshTimes, 15000);
