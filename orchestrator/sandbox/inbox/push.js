// Notifications as an Android phone, an iPhone or a desktop browser shows them.
import { make } from "./dom.js";
import { deviceOf } from "./providers.js";
import { ago, clock, day, say } from "./words.js";

const BELL = "M10 3a4.5 4.5 0 0 0-4.5 4.5c0 4-1.5 5-1.5 5h12s-1.5-1-1.5-5A4.5 4.5 0 0 0 10 3zM8.3 15a1.8 1.8 0 0 0 3.4 0";

export function lockScreen(phone, open) {
  const cards = collapsed(phone.messages).map(({ message, times }) => card(message, times, open));
  return make("div", { class: "lock" },
    make("div", { class: "lock-day" }, day()), make("div", { class: "lock-time", "data-clock": true }, clock()),
    make("div", { class: "cards" }, ...cards), make("div", { class: "home" }));
}

export function desktop(phone, open) {
  const cards = collapsed(phone.messages).map(({ message, times }) => card(message, times, open));
  const dots = make("span", { class: "dots", "aria-hidden": "true" }, make("i"), make("i"), make("i"));
  return make("div", { class: "desktop" },
    make("div", { class: "window" }, make("div", { class: "window-bar" }, dots, make("span", { class: "where" }, host(phone.address)))),
    make("div", { class: "cards" }, ...cards));
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
  const device = deviceOf(message.provider);
  const icon = make("span", { class: "icon" }, make("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, make("path", { d: BELL })));
  const time = make("time", { "data-time": message.time }, ago(message.time));
  const source = device === "browser" ? host(message.link) : say("app");
  return make("button", { class: `card ${device}`, type: "button", onclick: () => open(message.seq) },
    icon,
    make("span", { class: "words" },
      make("span", { class: "top" }, make("span", {}, source), time),
      make("strong", { dir: "auto" }, message.title ?? ""), make("span", { class: "text", dir: "auto" }, message.body ?? ""),
      picture(message.image),
      times > 1 ? make("em", {}, say("replaced", { n: times })) : null));
}

// Pictures are not loaded: the page asks nobody but the sandbox. Their name is shown where they would be.
export function picture(image) {
  if (!image) return null;
  const name = image.split(/[?#]/)[0].split("/").pop() || image;
  const frame = make("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, make("rect", { x: 3, y: 4, width: 14, height: 12, rx: 2 }),
    make("circle", { cx: 7.5, cy: 8.5, r: 1.3 }), make("path", { d: "M4 15l4-4 3 3 2-2 3 3" }));
  return make("span", { class: "picture", title: image }, frame, make("span", {}, name));
}

function host(url) {
  try {
    return new URL(url).host || say("app");
  } catch {
    return say("app");
  }
}
