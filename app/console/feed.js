// The stream of what is said of members, and why.

import { byId, h, memberLink, order, setText } from "./dom.js";
import { moment, named, ruleName, said, t } from "./words.js";

const KEPT = 300;
const SHOWN = 60;
// New lines come in once a second: lines that fly by are read by nobody.
const TURN_MS = 1000;
const KINDS = ["trigger", "cancelled", "stage"];

const list = byId("feed");
const pauseButton = byId("pause");
const entries = [];
const known = new Set();
const chosen = new Set(KINDS);
let paused = false;
let reading = false;
let shownUpTo = Infinity;
let dirty = false;

export function takeEntry(entry) {
  const id = String(entry.id);
  if (known.has(id)) return;
  known.add(id);
  const placed = { ...entry, id, order: order(id) };
  let at = 0;
  while (at < entries.length && entries[at].order > placed.order) at += 1;
  entries.splice(at, 0, placed);
  for (const dropped of entries.splice(KEPT)) known.delete(dropped.id);
  dirty = true;
}

/** One line of the feed: the member, what, when, and the reason in words. */
export function line(entry) {
  const what = entry.kind === "stage"
    ? h("span", { class: "what" }, `${named("stage", entry.before)} → ${named("stage", entry.after)}`)
    : h("span", { class: "what" }, ruleName(entry.rule));
  return h(
    "li", { class: `entry ${entry.kind}`, "data-id": entry.id },
    h("p", { class: "head" },
      h("span", { class: "kind" }, t(`entry_${entry.sent ? "settled" : entry.kind}`)),
      what,
      memberLink(entry.member_id),
      h("time", { datetime: entry.at }, moment(entry.at))),
    h("p", { class: "why" }, said(entry)),
  );
}

function waiting() {
  return entries.filter((entry) => entry.order > shownUpTo && chosen.has(entry.kind)).length;
}

function draw() {
  const held = paused || reading;
  if (!held) shownUpTo = entries.length ? entries[0].order : Infinity;
  const wanted = entries
    .filter((entry) => entry.order <= shownUpTo && chosen.has(entry.kind))
    .slice(0, SHOWN);
  const there = new Map([...list.children].map((item) => [item.dataset.id, item]));
  const items = wanted.map((entry) => there.get(entry.id) ?? line(entry));
  const kept = new Set(items);
  for (const item of there.values()) if (!kept.has(item)) item.remove();
  // Only what is new is put in: what has the focus must not be moved.
  let before = list.firstChild;
  for (const item of items) {
    if (item === before) before = before.nextSibling;
    else list.insertBefore(item, before);
  }
  const none = byId("feed-none");
  none.hidden = items.length > 0;
  setText(none, entries.length ? t("feed_hidden") : t("feed_empty"));
  tell();
}

function tell() {
  const count = waiting();
  const words = paused ? "paused" : "reading";
  setText(byId("feed-waiting"), (paused || reading) && (paused || count) ? t(words, { count }) : "");
  setText(pauseButton, t(paused ? "resume" : "pause"));
  pauseButton.setAttribute("aria-pressed", String(paused));
}

function drawKinds() {
  const group = byId("feed-kinds");
  group.setAttribute("aria-label", t("show"));
  group.replaceChildren(...KINDS.map((kind) =>
    h("label", { class: `choice ${kind}` },
      h("input", {
        type: "checkbox", checked: chosen.has(kind),
        onchange: (change) => {
          if (change.target.checked) chosen.add(kind);
          else chosen.delete(kind);
          draw();
        },
      }),
      t(`show_${kind}`))));
}

pauseButton.addEventListener("click", () => {
  paused = !paused;
  draw();
});
function read(now) {
  reading = now;
  if (!now) draw();
}
list.addEventListener("pointerenter", () => read(true));
list.addEventListener("pointerleave", () => read(list.contains(document.activeElement)));
list.addEventListener("focusin", () => read(true));
list.addEventListener("focusout", () => read(list.matches(":hover")));

setInterval(() => {
  if (!dirty) return;
  dirty = false;
  if (paused || reading) tell();
  else draw();
}, TURN_MS);

/** Shows at once what is there; also after the language has changed. */
export function redraw() {
  list.replaceChildren();
  drawKinds();
  draw();
}

/** The newest that is known: what comes after it is wanted. */
export const newest = () => entries[0]?.id ?? "0-0";
