// One member: what is known, what is ahead, what happened, and why.

import { byId, h, setText } from "./dom.js";
import { get } from "./live.js";
import { trusted } from "./model.js";
import { muteForm } from "./mute.js";
import { ruleNames } from "./rules.js";
import { ahead, chart, days, isTold, lastOf } from "./timeline.js";
import {
  currentLanguage, day, longMoment, named, number, percent, reason, ruleName, said, sentenceOf, t,
  whyNot,
} from "./words.js";

const SHOWN = 25;
const FRESH_MS = 5000;
const SETTLES_MS = 1200;
const section = byId("member");
let shown = null;
let now = 0;

/** Takes members' time, by which a mute is over: a document says so only when it is written again. */
export function takeTime(instant) {
  now = Date.parse(instant);
}

const isMuted = (document_) => Date.parse(document_.muted_until ?? "") > now;

const path = (id) => `/members/${encodeURIComponent(id)}`;

function fact(key, ...children) {
  const kept = children.flat().filter((child) => child !== null && child !== "");
  return kept.length ? h("div", { class: "fact" }, h("dt", null, t(key)), h("dd", null, kept)) : null;
}

const soft = (...words) => h("span", { class: "soft small" }, ...words);
const since = (instant) => (instant ? longMoment(instant) : t("never"));

function churn(foreseen) {
  if (!foreseen) return soft(t("not_yet"));
  const chance = foreseen.churn_smoothed ?? foreseen.churn;
  const meter = h("span", { class: "meter", "aria-hidden": "true" }, h("span"));
  meter.firstChild.style.width = `${Math.round(chance * 100)}%`;
  return [
    h("span", { class: "large" }, percent(chance)), meter,
    ...(foreseen.reasons ?? []).map((one) => soft(reason(one))),
  ];
}

function value(foreseen) {
  if (!foreseen) return soft(t("not_yet"));
  const { expected_value: expected, expected_value_low: low, expected_value_high: high } = foreseen;
  const range = (low ?? null) !== null && (high ?? null) !== null
    ? soft(t("between", { from: number(low, 0), to: number(high, 0) })) : null;
  return [h("span", { class: "large" }, number(expected ?? 0, 0)), range];
}

function next(foreseen) {
  const expected = foreseen?.next_order;
  if (!expected) return soft(t("not_yet"));
  return [
    h("span", { class: "large" }, t("around", { at: day(expected.median) })),
    soft(t("between", { from: day(expected.earliest), to: day(expected.latest) })),
  ];
}

function rfm(scores) {
  return h("span", { class: "rfm" }, ["recency", "frequency", "monetary"].map((key) => {
    const words = t("of_five", { name: t(key), score: scores[key] });
    return h("span", { class: "scale", role: "img", "aria-label": words },
      [1, 2, 3, 4, 5].map((one) => h("i", { class: one <= scores[key] ? "on" : null })),
      soft(t(key)));
  }));
}

const chips = (names) => h("ul", { class: "chips" }, names.map((name) => h("li", null, name)));

function items(list) {
  return h("ul", { class: "plain" }, list.slice(0, 6).map((item) => h("li", null, item.item_id,
    item.quantity ? soft(` × ${number(item.quantity)}`) : null,
    item.price ? soft(` ${number(item.price, 2)}`) : null)));
}

/** What the member agreed to and refused; who said nothing may be written to or not. */
function consent(said) {
  if (!said.length) return t("consent_none");
  const lines = [];
  for (const granted of [true, false]) {
    for (const purpose of ["marketing", "service"]) {
      const channels = said.filter((one) => one.granted === granted && one.purpose === purpose)
        .map((one) => (one.channel === "all" ? t("consent_all") : named("channel", one.channel)));
      if (!channels.length) continue;
      const what = t("consent_of", {
        purpose: t(`purpose_${purpose}`), channels: channels.join(t("comma")),
      });
      lines.push(h("div", null, t(granted ? "consent_yes" : "consent_no", { what })));
    }
  }
  return lines;
}

function facts(document_) {
  const d = document_;
  const foreseen = trusted() ? d.foreseen : null;
  const refunded = d.refunded ? soft(t("fact_refunded", { sum: number(d.refunded, 2) })) : null;
  return h("dl", { class: "facts" },
    fact("fact_churn", churn(foreseen)),
    fact("fact_value", value(foreseen)),
    fact("fact_next", next(d.foreseen)),
    fact("fact_orders", h("span", { class: "large" }, number(d.orders ?? 0)),
      d.spend ? soft(`${t("fact_spend")} ${number(d.spend, 2)}`) : null, refunded),
    fact("fact_last_order", since(d.last_order_at)),
    fact("fact_last_activity", since(d.last_activity_at)),
    d.registered_at ? fact("fact_registered", longMoment(d.registered_at)) : null,
    fact("fact_rfm", d.rfm ? rfm(d.rfm) : soft(t("not_yet"))),
    d.tier ? fact("fact_tier", d.tier) : null,
    (d.points ?? null) === null ? null : fact("fact_points", number(d.points)),
    fact("fact_consent", consent(d.consents ?? [])),
    d.tags?.length ? fact("fact_tags", chips(d.tags.map((tag) => named("tag", tag.tag)))) : null,
    d.segments?.length
      ? fact("fact_segments", chips(d.segments.map((one) => named("segment", one.segment)))) : null,
    d.cart?.length ? fact("fact_cart", items(d.cart)) : null,
    d.recent_items?.length ? fact("fact_items", items(d.recent_items)) : null,
    d.open_triggers?.length
      ? fact("fact_open", t("open_count", { count: d.open_triggers.length })) : null,
    d.time_zone ? fact("fact_zone", d.time_zone) : null);
}

function whyForm(id) {
  const names = ruleNames();
  if (!names.length) return null;
  const which = h("select", { id: "why-rule" },
    names.map((name) => h("option", { value: name }, ruleName(name))));
  // Drawn anew it is the same, so that what was asked for is told wherever it comes.
  const answer = byId("why-said") ?? h("div", { id: "why-said", role: "status" });
  const open = byId("why")?.open ?? false;
  const asked = async (submitted) => {
    submitted.preventDefault();
    const language = currentLanguage();
    const query = `rule=${encodeURIComponent(which.value)}&language=${language}`;
    const { ok, status, body } = await get(`${path(id)}/why?${query}`);
    if (!ok) {
      answer.replaceChildren(t("why_failed", { why: whyNot(body, status) }));
      return;
    }
    const state = Array.isArray(body.rules) ? body.rules[0] : body;
    const told = [
      ...(state.armed ?? []).map((one) => t("why_armed", { at: longMoment(one.due_at), text: said(one) })),
      ...(state.held ?? []).map((one) => t("why_held", { at: longMoment(one.until), text: said(one) })),
      ...(state.asks ?? []).map((one) => t(one.holds ? "why_holds" : "why_fails", { text: said(one) })),
      ...(state.last_raised_at ? [t("why_last", { at: longMoment(state.last_raised_at) })] : []),
    ];
    answer.replaceChildren(
      state.when ? h("p", null, t("why_when", { when: sentenceOf(state.when) })) : "",
      h("ul", { class: "plain" }, (told.length ? told : [t("why_quiet")]).map((one) => h("li", null, one))));
  };
  return h("details", { class: "more", id: "why", open }, h("summary", { id: "why-head" }, t("why")),
    h("form", { class: "mute", onsubmit: asked },
      h("div", { class: "field" }, h("label", { for: "why-rule" }, t("why_rule")), which),
      h("div", { class: "actions" }, h("button", { type: "submit" }, t("why_go")))),
    answer);
}

function heading(id, document_) {
  const d = document_;
  const stage = d && [
    h("span", { class: `pill ${d.stage}` }, named("stage", d.stage),
      d.band ? ` · ${named("band", d.band)}` : ""),
    soft(t("since", { at: day(d.since) })),
    isMuted(d) ? h("span", { class: "state alarm" }, t("muted_until", { at: longMoment(d.muted_until) })) : null,
  ];
  return h("header", { class: "member-head" },
    h("div", null,
      h("p", { class: "eyebrow" }, t("member")),
      h("h2", { id: "member-name", tabindex: "-1" }, id),
      stage ? h("p", { class: "where" }, ...stage.filter(Boolean)) : null),
    h("button", { type: "button", id: "member-close", onclick: close }, t("close")));
}

function timelineParts() {
  const { entries, timeline } = shown;
  if (!timeline.ok) {
    return [h("p", { class: "none" }, t("timeline_failed", { why: whyNot(timeline.body, timeline.status) }))];
  }
  // Scores are drawn, not read.
  const told = entries.filter(isTold);
  if (!told.length) return [h("p", { class: "none" }, t("timeline_none"))];
  if (shown.whole || told.length <= SHOWN) return days(told);
  return [
    ...days(told.slice(0, SHOWN)),
    h("button", { type: "button", id: "earlier", onclick: earlier }, t("more")),
  ];
}

/** What will come due; of who is muted nothing of it is sent before that is over. */
function aheadParts() {
  const { answer, timeline } = shown;
  const until = isMuted(answer.body) && longMoment(answer.body.muted_until);
  return [
    until ? h("p", { class: "about" }, t("ahead_muted", { at: until })) : null,
    ahead(timeline.body.ahead ?? []),
  ].filter(Boolean);
}

function draw() {
  if (!shown) return;
  const { id, answer, timeline } = shown;
  if (!answer) {
    section.replaceChildren(heading(id, null), h("p", { class: "none" }, t("loading")));
    return;
  }
  if (!answer.ok) {
    const unknown = answer.status === 404;
    section.replaceChildren(heading(id, null),
      h("p", { class: "none" }, unknown
        ? t("unknown_member", { id })
        : t("member_failed", { why: whyNot(answer.body, answer.status) })),
      unknown ? h("p", { class: "soft" }, t("unknown_help"))
        : h("button", { type: "button", onclick: () => open(id) }, t("again")));
    return;
  }
  const put = keepForms();
  section.replaceChildren(
    heading(id, answer.body),
    facts(answer.body),
    h("div", { class: "split" },
      h("div", null,
        h("h3", null, t("timeline")),
        h("p", { class: "about" }, t("timeline_about")),
        h("div", { id: "timeline" }, timelineParts())),
      h("div", null,
        (trusted() && chart(shown.entries)) || "",
        h("h3", null, t("last")),
        h("p", { class: "about" }, t("last_about")),
        h("div", { id: "last" }, lastOf(answer.body.last_triggers ?? [], shown.entries)),
        h("h3", null, t("ahead")),
        h("div", { id: "ahead" }, aheadParts())),
    ),
    whyForm(id) ?? "",
    muteForm(id, isMuted(answer.body), () => setTimeout(() => refresh(true), SETTLES_MS)),
  );
  put();
}

/** What somebody has filled in, and where they are: returns what puts it back. */
function keepForms() {
  const filled = [...section.querySelectorAll("input, select")].map((one) => [one.id, one.value]);
  const here = section.contains(document.activeElement) ? document.activeElement.id || "member-name" : "";
  return () => {
    for (const [name, value] of filled) if (byId(name)) byId(name).value = value;
    // Who has ended a mute goes on where one begins.
    if (here) (byId(here) ?? byId("mute-go")).focus({ preventScroll: true });
  };
}

/** Draws what happened anew; who reads it by keyboard stays at the same entry. */
function drawTimeline() {
  const place = byId("timeline");
  const here = place.contains(document.activeElement) ? document.activeElement : null;
  place.replaceChildren(...timelineParts());
  if (!here) return;
  const same = here.id ? byId(here.id)
    : [...place.querySelectorAll("li")].find((one) => one.textContent === here.textContent);
  rest(same ?? byId("member-name"));
}

/** Moves the keyboard to what is read, not used. */
function rest(element) {
  if (element.matches("li")) element.tabIndex = -1;
  element.focus({ preventScroll: true });
}

/** What of the section changes by itself: all but the forms, if they still fit. */
function drawFresh() {
  if (!shown?.answer?.ok) return;
  const old = section.querySelector(".facts");
  const head = section.querySelector(".member-head .where");
  if (!old || !head || Boolean(byId("mute-end")) !== isMuted(shown.answer.body)) {
    draw();
    return;
  }
  old.replaceWith(facts(shown.answer.body));
  head.replaceWith(heading(shown.id, shown.answer.body).querySelector(".where"));
  drawTimeline();
  byId("ahead").replaceChildren(...aheadParts());
  byId("last").replaceChildren(lastOf(shown.answer.body.last_triggers ?? [], shown.entries));
}

async function load(id) {
  const [answer, timeline] = await Promise.all([get(path(id)), get(`${path(id)}/timeline`)]);
  return { answer, timeline, entries: timeline.body.entries ?? [] };
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

async function refresh(whole = false) {
  const before = shown;
  if (!before?.answer?.ok || document.hidden) return;
  const told = await load(before.id);
  if (shown !== before || !told.answer.ok) return;
  const changed = !same(told.answer.body, before.answer.body)
    || !same(told.timeline.body, before.timeline.body);
  Object.assign(before, told);
  if (!changed) return;
  if (whole) draw();
  else drawFresh();
}

function earlier() {
  shown.whole = true;
  byId("timeline").replaceChildren(...timelineParts());
  // The button is gone: the keyboard goes on where it stood.
  rest(byId("timeline").querySelectorAll("li")[SHOWN]);
}

export async function open(id) {
  const mine = { id, answer: null, timeline: null, entries: [], whole: false };
  shown = mine;
  section.hidden = false;
  draw();
  byId("member-name").focus({ preventScroll: true });
  section.scrollIntoView({ block: "start" });
  const told = await load(id);
  if (shown !== mine) return;
  Object.assign(mine, told);
  draw();
  byId("member-name").focus({ preventScroll: true });
}

function close() {
  history.pushState(null, "", location.pathname);
  hide();
  byId("find-what").focus();
}

function hide() {
  shown = null;
  section.hidden = true;
  section.replaceChildren();
}

/** Shows the member that the address names, or none. */
export function follow() {
  const found = /^#member=(.+)$/.exec(location.hash);
  if (!found) {
    hide();
    return;
  }
  let id = found[1];
  try {
    id = decodeURIComponent(id);
  } catch {
    // As it is, then: nobody is known by it.
  }
  open(id);
}

setInterval(() => refresh(), FRESH_MS);

export function redraw() {
  // What was said was said in the other language.
  for (const name of ["why-said", "mute-said"]) byId(name)?.replaceChildren();
  draw();
}
