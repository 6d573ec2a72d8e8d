// Puts the page together: the first picture from /live, then what /stream says.

import { byId, h, setText } from "./dom.js";
import * as feed from "./feed.js";
import "./find.js";
import * as lists from "./lists.js";
import { get, Stream } from "./live.js";
import * as member from "./member.js";
import * as model from "./model.js";
import * as river from "./river.js";
import * as rules from "./rules.js";
import { keepToken, token } from "./token.js";
import { currentLanguage, figure, learnNames, setLanguage, t, time, whyNot } from "./words.js";

const COUNTERS = ["members", "events", "events_per_second", "triggers", "cancelled"];
const TROUBLES = ["lost", "full"];
const THEMES = ["auto", "light", "dark"];
const SLOW_MS = 5000;
const RETRY_MS = 2000;

const page = document.documentElement;
const state = { link: "connecting", heard: 0, away: false, counters: null, refused: "" };

function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A browser that keeps nothing asks again next time.
  }
}

function drawWords() {
  document.title = t("title");
  for (const element of document.querySelectorAll("[data-t]")) {
    setText(element, t(element.dataset.t));
  }
  const language = byId("language");
  setText(language, t("language"));
  language.lang = currentLanguage() === "zh" ? "en" : "zh-CN";
  language.setAttribute("aria-label", `${t("language")} (${t("language_about")})`);
  drawTheme();
}

function drawTheme() {
  setText(byId("theme"), t(`theme_${page.dataset.theme ?? "auto"}`));
}

byId("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(page.dataset.theme ?? "auto") + 1) % THEMES.length];
  if (next === "auto") delete page.dataset.theme;
  else page.dataset.theme = next;
  keep("theme", next);
  drawTheme();
});

byId("language").addEventListener("click", () => {
  setLanguage(currentLanguage() === "zh" ? "en" : "zh");
  keep("language", currentLanguage());
  drawAll();
});

function drawCounters() {
  const told = state.counters ?? {};
  const place = byId("counters");
  if (!place.children.length) {
    place.append(...COUNTERS.map((name) =>
      h("div", { "data-counter": name }, h("dt"), h("dd", { class: "figure" }))));
  }
  COUNTERS.forEach((name, index) => {
    const [term, shown] = place.children[index].children;
    setText(term, t(name));
    if (name === "cancelled") term.title = t("cancelled_about");
    setText(shown, figure(told[name]));
  });
  place.setAttribute("aria-busy", String(state.counters === null));
  byId("empty").hidden = state.counters === null || told.events !== 0;
}

function drawLink() {
  byId("link").dataset.state = state.link;
  setText(byId("link-words"), t(`link_${state.link}`));
  const trouble = byId("trouble");
  const at = state.heard ? time(state.heard) : "–";
  const words = TROUBLES.includes(state.link) ? t(state.link, { at }) : state.away ? t("away", { at }) : "";
  setText(trouble, words);
  trouble.hidden = !words;
  page.classList.toggle("stale", Boolean(words));
}

function drawAll() {
  drawWords();
  drawCounters();
  drawLink();
  for (const part of [river, feed, rules, model, lists, member]) part.redraw();
}

function takeFigures({ now, redis, counters }) {
  member.takeTime(now);
  state.away = redis === "away";
  // What is not known now stays as it was last known.
  if (!state.away) {
    // A picture has no speed: only the stream counts twice.
    state.counters = { ...state.counters, ...counters };
    state.heard = Date.now();
  }
  drawCounters();
  drawLink();
}

/** Asks for the token when that is what is lacking, and says why what is known is refused. */
function drawGate() {
  const gate = byId("gate");
  const entered = !state.refused && gate.contains(document.activeElement);
  gate.hidden = !state.refused;
  if (entered) byId("content").focus({ preventScroll: true });
  setText(byId("gate-said"), state.refused && token() ? t("gate_wrong", { why: state.refused }) : "");
}

/** Takes a picture of everything; tells whether there was one. */
async function takePicture() {
  const { ok, status, body } = await get("/live");
  state.refused = status === 401 || status === 403 ? whyNot(body, status) : "";
  drawGate();
  if (!ok) return false;
  takeFigures(body);
  if (!state.away) river.showStages(body);
  learnNames("segment", body.names?.segments);
  learnNames("tag", body.names?.tags);
  rules.showRules(body.rules ?? []);
  (body.feed ?? []).forEach(feed.takeEntry);
  model.showModel(body.model);
  lists.look();
  return true;
}

async function keepUp() {
  const [told, quality] = await Promise.all([get("/rules"), get("/model")]);
  if (told.ok) rules.showRules(Array.isArray(told.body) ? told.body : told.body.rules);
  if (quality.ok || quality.status === 404) model.showModel(quality.ok ? quality.body : null);
  lists.look();
}

/** Waits: for a moment, or for the token when that is what is lacking. */
function untilAsked() {
  return new Promise((done) => {
    if (state.refused) byId("gate").addEventListener("submit", done, { once: true });
    else setTimeout(done, RETRY_MS);
  });
}

/** Goes on elsewhere in the page; the address names the member and nothing else. */
function skip(click) {
  click.preventDefault();
  document.querySelector(click.currentTarget.getAttribute("href")).focus();
}

async function start() {
  addEventListener("hashchange", member.follow);
  byId("gate").addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    keepToken(byId("gate-token").value);
  });
  for (const link of document.querySelectorAll("a.skip")) link.addEventListener("click", skip);
  drawAll();
  if (location.hash) member.follow();
  while (!(await takePicture())) await untilAsked();
  feed.redraw();
  member.redraw();
  new Stream({
    feed: feed.takeEntry,
    live: (told) => {
      const back = state.away && told.redis !== "away";
      takeFigures(told);
      if (back) takePicture();
    },
    stages: river.showStages,
    state: (now, why) => {
      state.refused = now === "refused" ? whyNot(why, now) : "";
      drawGate();
      if (now === state.link) return;
      const back = now === "live" && state.link !== "connecting";
      state.link = now;
      drawLink();
      if (back) takePicture();
    },
  }, feed.newest());
  setInterval(() => {
    if (!document.hidden && !state.away && state.link === "live") keepUp();
  }, SLOW_MS);
}

start();
