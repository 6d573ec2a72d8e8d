// Muting a member until a day: the one thing here that changes something, so it asks for the token.

import { byId, h, setText } from "./dom.js";
import { ask } from "./live.js";
import { keepToken, token } from "./token.js";
import { longMoment, t, whyNot } from "./words.js";

const today = () => {
  const now = new Date();
  const two = (value) => String(value).padStart(2, "0");
  return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
};

// One that is given elsewhere on the page is not asked for again.
addEventListener("token", () => {
  if (byId("mute-token")) byId("mute-token").value = token();
});

/** The form for a member; `changed` is called when it took effect. */
export function muteForm(id, muted, changed) {
  const path = `/members/${encodeURIComponent(id)}/mute`;
  const until = h("input", { id: "mute-until", type: "date", min: today(), required: true });
  const why = h("input", { id: "mute-reason", type: "text", maxlength: 200 });
  const secret = h("input", {
    id: "mute-token", type: "password", autocomplete: "off", required: true,
    "aria-describedby": "mute-token-about",
  });
  secret.value = token();
  const saying = byId("mute-said") ?? h("p", { class: "said", role: "status", id: "mute-said" });

  async function change(method, body, done) {
    if (!secret.value) {
      setText(saying, t("mute_no_token"));
      secret.focus();
      return;
    }
    const { ok, status, body: answer } = await ask(path, {
      method,
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${secret.value}` },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    setText(saying, ok ? done(answer) : t("mute_failed", { why: whyNot(answer, status) }));
    if (!ok) return;
    keepToken(secret.value);
    until.value = "";
    why.value = "";
    changed();
  }

  const form = h("form", {
    class: "mute", novalidate: true,
    onsubmit: (submitted) => {
      submitted.preventDefault();
      // The end of that day, here where it was chosen.
      const end = new Date(`${until.value}T23:59:59`);
      if (!(end.getTime() > Date.now())) {
        setText(saying, t("mute_no_date"));
        until.focus();
        return;
      }
      const body = { until: end.toISOString() };
      if (why.value.trim()) body.reason = why.value.trim();
      change("POST", body, (answer) => t("mute_done", { at: longMoment(answer.until ?? body.until) }));
    },
  },
  h("div", { class: "field" }, h("label", { for: "mute-until" }, t("mute_until")), until),
  h("div", { class: "field grow" }, h("label", { for: "mute-reason" }, t("mute_reason")), why),
  h("div", { class: "field" }, h("label", { for: "mute-token" }, t("mute_token")), secret,
    h("span", { id: "mute-token-about", class: "hint" }, t("mute_token_about"))),
  h("div", { class: "actions" },
    h("button", { type: "submit", class: "main", id: "mute-go" }, t("mute_go")),
    muted
      ? h("button", {
        type: "button", id: "mute-end",
        onclick: () => change("DELETE", null, () => t("mute_ended")),
      }, t("mute_end"))
      : null));
  const open = byId("mute")?.open ?? false;
  return h("details", { class: "more", id: "mute", open },
    h("summary", { id: "mute-head" }, t("mute")), h("p", { class: "about" }, t("mute_about")), form, saying);
}
