// Finding a member. A phone number or an e-mail address never leaves the browser.

import { byId, setText } from "./dom.js";
import { get } from "./live.js";
import { t } from "./words.js";

const what = byId("find-what");
const kind = byId("find-kind");
const saying = byId("find-said");

/** As the engine knows contacts: an e-mail in lower case, a phone as digits and one leading plus. */
export function normalised(contact) {
  const trimmed = contact.trim();
  if (trimmed.includes("@")) return trimmed.toLowerCase();
  const digits = trimmed.replace(/\D/g, "");
  if (trimmed.startsWith("+")) return `+${digits}`;
  return digits.startsWith("00") ? `+${digits.slice(2)}` : digits;
}

export async function hashed(contact) {
  const bytes = new TextEncoder().encode(normalised(contact));
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(digest)].map((one) => one.toString(16).padStart(2, "0")).join("");
}

const isMail = (text) => /^\S+@\S+\.\S+$/.test(text);
const isPhone = (text) => /^(\+|00)?[\d\s().-]{7,20}$/.test(text) && /\d{7}/.test(text.replace(/\D/g, ""));

/** What is asked for, one after the other, until somebody is found. */
function questions(text, chosen) {
  if (chosen !== "auto") return [chosen];
  if (isMail(text)) return ["contact"];
  // An order or a member may have a number that looks like a phone's.
  return isPhone(text) ? ["contact", "id", "order"] : ["id", "order"];
}

async function query(question, text) {
  if (question !== "contact") return `${question}=${encodeURIComponent(text)}`;
  return `contact=${await hashed(text)}`;
}

async function find(text) {
  const asked = questions(text, kind.value);
  if (asked.includes("contact") && !globalThis.crypto?.subtle) {
    if (asked.length === 1) return { said: t("find_insecure") };
    asked.shift();
  }
  for (const question of asked) {
    const { ok, status, body } = await get(`/lookup?${await query(question, text)}`);
    if (ok) return { member: body.member_id };
    if (status !== 404) return { said: t("find_failed", { why: body.reason ?? status }) };
  }
  return { said: t("find_none", { what: text }) };
}

byId("find").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const text = what.value.trim();
  if (!text) {
    what.focus();
    return;
  }
  setText(saying, t("find_busy"));
  const { member, said = "" } = await find(text);
  setText(saying, said);
  if (member === undefined) return;
  const hash = `#member=${encodeURIComponent(member)}`;
  if (location.hash === hash) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = hash;
});
