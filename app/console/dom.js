// Making elements. Whatever comes from outside is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((one) => one !== null && one !== undefined && one !== ""));
  return element;
}

/** An element with attributes (onNAME: a listener) and children, of which strings become text. */
export const h = (name, attributes, ...children) =>
  fill(document.createElement(name), attributes, children);

export const svg = (name, attributes, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);

export const byId = (id) => document.getElementById(id);

/** Sets text only where it differs, so that what reads the page aloud is not disturbed. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const memberLink = (id, words = id) =>
  h("a", { href: `#member=${encodeURIComponent(id)}`, class: "id" }, words);

/** A key for Redis stream ids that sorts as they do; a feed has a thousand of a millisecond at most. */
export function order(id) {
  const [ms, number = "0"] = String(id).split("-");
  return Number(ms) * 4096 + Number(number);
}

export const calm = matchMedia("(prefers-reduced-motion: reduce)");
