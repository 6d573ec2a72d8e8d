// Rules: how often each raised a message day by day, what was held back, and the breaker.

import { byId, h, svg } from "./dom.js";
import {
  aboutOf, currentLanguage, learnNames, named, number, ruleName, sentenceOf, t,
} from "./words.js";

const WIDTH = 112;
const HEIGHT = 26;
const DAYS = 14;
let rules = null;
let all = false;

const sum = (rule, what) => rule.days.reduce((total, one) => total + (one[what] ?? 0), 0);
const tells = (rule) =>
  rule.breaker_open || sum(rule, "triggers") + sum(rule, "held_back") + sum(rule, "cancelled") > 0;

/** The last days there are counts of, one after the other: days without any are not told of. */
function calendar() {
  const named = rules.flatMap((rule) => rule.days.map((one) => one.day)).sort();
  const last = Date.parse(named.at(-1) ?? new Date().toISOString().slice(0, 10));
  return Array.from({ length: DAYS }, (_, index) =>
    new Date(last - (DAYS - 1 - index) * 86_400_000).toISOString().slice(0, 10));
}

/** A bar a day, today's dark: the days that are told of may end before it. */
function spark(told, days, today) {
  const of = new Map(told.map((one) => [one.day, one.triggers ?? 0]));
  const counts = days.map((one) => of.get(one) ?? 0);
  const most = Math.max(1, ...counts);
  const step = WIDTH / DAYS;
  const bars = counts.map((count, index) => {
    const height = count ? Math.max(2, (count / most) * (HEIGHT - 2)) : 1;
    return svg("rect", {
      x: (index * step + 1).toFixed(1), y: (HEIGHT - height).toFixed(1),
      width: (step - 2).toFixed(1), height: height.toFixed(1), rx: 1,
      class: count ? (days[index] === today.day ? "last" : "bar") : "zero",
    });
  });
  const words = t("spark", {
    today: number(today.triggers ?? 0), most: number(Math.max(0, ...counts)), count: counts.length,
  });
  return svg("svg", {
    class: "spark", role: "img", "aria-label": words, width: WIDTH, height: HEIGHT,
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
  }, ...bars);
}

/** What a rule is about: in Chinese as the shop says it, else when it raises, which we say. */
function about(rule) {
  if (currentLanguage() !== "zh") return rule.about;
  return aboutOf("rule", rule.rule) ?? sentenceOf(rule.words.zh);
}

/** What a rule is about, by its name; nothing of one that is gone. */
export function aboutRule(name) {
  const found = (rules ?? []).find((rule) => rule.rule === name);
  return found ? about(found) : "";
}

function row(rule, days) {
  const today = rule.today ?? {};
  const figure = (label, value) =>
    h("td", { class: value ? "figure" : "figure soft", "data-label": label }, number(value ?? 0));
  const rest = rule.breaker_open ? t("rule_open") : named("rule", rule.mode ?? "live");
  return h("tr", rule.breaker_open ? { class: "broken" } : null,
    h("th", { scope: "row" }, h("span", { class: "name", title: rule.rule }, ruleName(rule.rule)),
      h("span", { class: "soft small" }, about(rule))),
    h("td", { class: "chart" }, spark(rule.days, days, today)),
    figure(t("rule_today"), today.triggers),
    figure(t("rule_held"), today.held_back),
    figure(t("rule_cancelled"), today.cancelled),
    h("td", { "data-label": t("rule_state") },
      h("span", { class: rule.breaker_open ? "state alarm" : "state" }, rest)));
}

function draw() {
  if (!rules) return;
  const place = byId("rules");
  if (!rules.length) {
    place.replaceChildren(h("p", { class: "none" }, t("rules_none")));
    return;
  }
  const told = rules.filter(tells)
    .sort((one, other) => other.breaker_open - one.breaker_open
      || sum(other, "triggers") - sum(one, "triggers"));
  const rest = rules.filter((rule) => !tells(rule));
  const shown = all ? [...told, ...rest] : told.slice(0, 12);
  const focused = document.activeElement?.id === "rules-all";
  const days = calendar();
  const head = [
    ["rule"], ["rule_days", "chart"], ["rule_today", "figure"], ["rule_held", "figure"],
    ["rule_cancelled", "figure"], ["rule_state"],
  ].map(([key, style]) =>
    h("th", { scope: "col", class: style ?? null }, t(key, { count: DAYS })));
  place.replaceChildren(
    shown.length
      ? h("table", { class: "rules", "aria-labelledby": "rules-head" },
        h("thead", null, h("tr", null, head)), h("tbody", null, shown.map((rule) => row(rule, days))))
      : h("p", { class: "none" }, t("rules_quiet")),
    shown.length < rules.length || all
      ? h("button", {
        type: "button", id: "rules-all", "aria-expanded": String(all),
        onclick: () => {
          all = !all;
          draw();
        },
      }, t(all ? "rules_some" : "rules_all", { count: number(rules.length) }))
      : null,
  );
  if (focused) byId("rules-all")?.focus();
}

/** Draws only what is news: who reads the table is not to be thrown out of it. */
export function showRules(told) {
  if (JSON.stringify(told) === JSON.stringify(rules)) return;
  rules = told;
  const called = rules.filter((rule) => rule.chinese).map((rule) => [rule.rule, rule.chinese]);
  learnNames("rule", Object.fromEntries(called));
  draw();
}

export const ruleNames = () => (rules ?? []).map((rule) => rule.rule).sort();

export const redraw = draw;
