// What happened to a member, day by day; and the risk over time as a small chart.

import { h, svg } from "./dom.js";
import { aboutRule } from "./rules.js";
import { day, longMoment, named, number, percent, ruleName, said, t, time } from "./words.js";

const TOP = 8;
const HEIGHT = 96;
const WIDTH = 640;

/** What an event was about: its item, order, sum, words. */
function about(entry) {
  const sum = (entry.amount ?? null) === null ? "" : `${number(entry.amount, 2)} ${entry.currency ?? ""}`;
  const parts = [entry.item, entry.order, sum.trim(), entry.query && `“${entry.query}”`,
    entry.source && named("source", entry.source)];
  return parts.filter(Boolean).join(" · ");
}

/** A mute says until when, why and who; one until its own instant ends those before it. */
function muting(entry) {
  const until = new Date(entry.until);
  const ends = !(until > new Date(entry.at));
  const parts = [ends ? null : t("until_when", { at: longMoment(until) }), entry.why, entry.by];
  return [named("event", ends ? "unmute" : "mute"), parts.filter(Boolean).join(" · ") || about(entry)];
}

function words(entry) {
  if (entry.type === "mute" && (entry.until ?? null) !== null) return muting(entry);
  const sentence = said(entry) || said(entry, "why") || said(entry, "reason");
  switch (entry.kind) {
    case "event":
      return [named("event", entry.type), sentence || about(entry)];
    case "stage":
      return [`${named("stage", entry.before)} → ${named("stage", entry.after)}`, sentence];
    case "band":
      return [`${named("band", entry.before)} → ${named("band", entry.after)}`, sentence];
    case "segment": {
      const what = named("segment", entry.after || entry.before);
      return [t(entry.after ? "entered" : "left", { what }), sentence];
    }
    case "decision":
      return [
        t("pair", { what: ruleName(entry.rule), more: named("verdict", entry.verdict) }), sentence,
      ];
    case "score":
      return [percent(entry.churn), sentence];
    default:
      return [ruleName(entry.rule ?? entry.kind), sentence];
  }
}

/** A decision that raised is told by its trigger. */
export const isTold = (entry) => !(entry.kind === "decision" && entry.verdict === "raised")
  && entry.kind !== "score";

function item(entry) {
  const [what, why] = words(entry);
  return h("li", { class: `entry ${entry.kind}` },
    h("p", { class: "head" },
      h("span", { class: "kind" }, named("kind", entry.sent ? "settled" : entry.kind)),
      h("span", { class: "what" }, what),
      h("time", { datetime: entry.at, title: longMoment(entry.at) }, time(entry.at))),
    why ? h("p", { class: "why" }, why) : null);
}

/** Entries that are told, newest first, as a list for each day. */
export function days(told) {
  const grouped = new Map();
  for (const entry of told) {
    const on = day(entry.at);
    if (!grouped.has(on)) grouped.set(on, []);
    grouped.get(on).push(entry);
  }
  return [...grouped].map(([on, its]) => h("div", { class: "day" },
    h("h4", null, on), h("ol", { class: "feed still" }, its.map(item))));
}

export function ahead(entries) {
  if (!entries.length) return h("p", { class: "none" }, t("ahead_none"));
  return h("ol", { class: "feed still" }, entries.map((entry) =>
    h("li", { class: "entry ahead" },
      h("p", { class: "head" },
        h("span", { class: "what" }, entry.rule ? ruleName(entry.rule) : said(entry, "what")),
        h("time", { datetime: entry.at }, longMoment(entry.at))),
      entry.rule ? h("p", { class: "why" }, said(entry, "what")) : null)));
}

/** Where a timeline tells of a trigger; of who is in a control group it tells the decision. */
function toldOf(one, entries) {
  const its = entries.filter((entry) => entry.rule === one.rule);
  return its.find((entry) => entry.kind === "trigger"
      && (one.trigger_id ? entry.trigger_id === one.trigger_id : entry.at === one.due_at))
    ?? its.findLast((entry) => entry.verdict === "holdout" && entry.at >= one.due_at);
}

/** The last triggers, the newest first: what became of each, and why, as `entries` tell it. */
export function lastOf(triggers, entries) {
  if (!triggers.length) return h("p", { class: "none" }, t("last_none"));
  return h("ol", { class: "feed still" }, triggers.map((one) => {
    const told = toldOf(one, entries);
    const kept = told?.kind === "decision";
    return h("li", { class: `entry ${one.outcome === "open" ? "trigger" : "past"}` },
      h("p", { class: "head" },
        h("span", { class: "what" }, ruleName(one.rule)),
        h("span", { class: "kind" }, kept ? named("verdict", told.verdict) : t(`last_${one.outcome}`)),
        h("time", { datetime: one.due_at }, longMoment(one.due_at))),
      h("p", { class: "why" }, told ? said(told, kept ? "why" : "text") : aboutRule(one.rule)));
  }));
}

/** The churn score over time, when there are two points or more. */
export function chart(entries) {
  const scores = entries.filter((entry) => entry.kind === "score" && entry.churn !== undefined)
    .map((entry) => [Date.parse(entry.at), entry.churn])
    .sort((one, other) => one[0] - other[0]);
  if (scores.length < 2) return null;
  const [first, last] = [scores[0], scores.at(-1)];
  const span = Math.max(1, last[0] - first[0]);
  const x = (at) => (4 + ((at - first[0]) / span) * (WIDTH - 8)).toFixed(1);
  const y = (churn) => (TOP + (1 - churn) * (HEIGHT - 2 * TOP)).toFixed(1);
  const line = scores.map(([at, churn]) => `${x(at)},${y(churn)}`).join(" ");
  const about = t("score_about", {
    first: percent(first[1]), from: day(first[0]), last: percent(last[1]), to: day(last[0]),
  });
  return h("figure", { class: "chart" },
    h("h4", null, t("score_title")),
    svg("svg", { role: "img", "aria-label": about, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" },
      ...[0, 0.5, 1].map((share) =>
        svg("line", { x1: 0, x2: WIDTH, y1: y(share), y2: y(share), class: "grid" })),
      svg("polyline", { points: line, class: "score" })),
    h("figcaption", { class: "soft small" }, about));
}
