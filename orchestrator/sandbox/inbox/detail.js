// The drawer with one accepted message: as it is read, what is known of it, and the request itself.
import { ask, make, tell } from "./dom.js";
import { drawMail } from "./mail.js";
import { nameOf } from "./providers.js";
import { picture } from "./push.js";
import { linked } from "./sms.js";
import { coloured } from "./webhook.js";
import { instant, known, say } from "./words.js";

const FIELDS = ["provider", "to", "seq", "time", "expires_at", "message_id", "collapse_key", "id", "link", "from", "encoding", "parts", "fate", "sender"];

export async function drawDetail(root, seq, close) {
  const { messages: [record] } = await ask(`/sandbox/messages?after=${seq - 1}&limit=1`);
  const rows = FIELDS.filter((name) => record[name] != null && record[name] !== "").flatMap((name) =>
    [make("dt", {}, say(`f_${name}`)), make("dd", {}, ...value(name, record[name]))]);
  root.classList.toggle("wide", "html" in record);
  if ("html" in record) return drawMail(root, record, rows, close);
  root.replaceChildren(
    make("div", { class: "detail-head" }, make("h2", {}, say("detail")), make("button", { type: "button", class: "quiet", onclick: close }, say("close"))),
    make("blockquote", { dir: "auto" }, record.title ? make("strong", {}, record.title) : null, ...linked(record.body ?? ""), picture(record.image) ?? ""),
    opening(record), make("dl", {}, ...rows), make("h3", {}, say("raw")), make("pre", { tabindex: "0", class: "json" }, ...coloured(record.request)));
}

function value(name, given) {
  if (name === "time" || name === "expires_at") return [instant(given)];
  if (name === "provider") return [nameOf(given)];
  if (name === "link") return linked(given);
  const word = `s_${String(given).toLowerCase()}`;
  return [name === "fate" && known(word) ? say(word) : String(given)];
}

// The app reports that its message was opened: only what carries an acknowledgement can be.
function opening(record) {
  if (!/\\?"ack\\?":/.test(JSON.stringify(record.request))) return "";
  const told = make("span", { class: "told", role: "status" });
  const button = make("button", { type: "button", class: "quiet", onclick: async () => {
    try {
      const { status, app } = await tell("/sandbox/open", { seq: record.seq });
      told.textContent = status ? say("opened", { s: status }) : say("openedNowhere", { a: app });
    } catch {
      told.textContent = say("noAck");
    }
  } }, say("openIt"));
  return make("div", { class: "opening" }, button, told);
}
