// Whom to look at: those most at risk, and those who entered a stage last.

import { byId, h, memberLink, setText } from "./dom.js";
import { get } from "./live.js";
import { trusted } from "./model.js";
import { STAGES } from "./river.js";
import { day, named, percent, t, whyNot } from "./words.js";

const SHOWN = 12;
const select = byId("look-which");
const list = byId("look");
const none = byId("look-none");
let asked = 0;
let shown = "";

function drawChoices() {
  const chosen = select.value || "risk";
  select.replaceChildren(
    h("option", { value: "risk" }, t("look_risk")),
    ...STAGES.map((stage) =>
      h("option", { value: stage }, t("look_stage", { stage: named("stage", stage) }))),
  );
  select.value = chosen;
}

export async function look() {
  const number = (asked += 1);
  const which = select.value;
  const query = which === "risk" ? "risk=1" : `stage=${which}`;
  const { ok, status, body } = await get(`/members?${query}&limit=${SHOWN}`);
  if (number !== asked) return;
  const unknown = which === "risk" && !trusted();
  const members = ok && !unknown ? body.members : [];
  setText(none, !ok ? t("look_failed", { why: whyNot(body, status) })
    : t(unknown ? "look_unknown" : "look_none"));
  none.hidden = members.length > 0;
  const news = document.documentElement.lang + JSON.stringify(members);
  // Being read, it waits.
  if (news === shown || (list.contains(document.activeElement) && members.length)) return;
  shown = news;
  list.replaceChildren(...members.map((one) =>
    h("li", null, memberLink(one.member_id),
      h("span", { class: "figure soft" }, one.since ? day(one.since) : percent(one.churn)))));
}

select.addEventListener("change", look);

export function redraw() {
  drawChoices();
  look();
}
