// Elements are made here and nowhere else, and text goes in as text: nothing a message says is ever markup.
export function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "circle", "rect"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, setting] of Object.entries(value)) node.style.setProperty(key, setting);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

export async function ask(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

export function tell(path, content, method = "POST") {
  const body = content === undefined ? {} : { body: JSON.stringify(content), headers: { "content-type": "application/json" } };
  return ask(path, { method, ...body });
}
