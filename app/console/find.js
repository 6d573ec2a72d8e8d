// Finding a member. A phone number or an e-mail address never leaves the browser.

import { byId, setText } from "./dom.js";
import { get } from "./live.js";
import { t, whyNot } from "./words.js";

const what = byId("find-what");
const kind = byId("find-kind");
const saying = byId("find-said");

const plain = (text) => text.normalize("NFKC").trim().replace(/^(tel|mailto):/i, "");
const isMail = (text) => plain(text).includes("@");
const digitsOf = (text) => plain(text).replace(/\D/g, "");
const isAbroad = (text) => /^[\s(]*(\+|00)/.test(plain(text));
// A number that begins with 00 has two digits more.
const isPhone = (text) => /^[\d\s+()./\u2010-\u2015-]+$/.test(plain(text))
  && digitsOf(text).length >= 7 && digitsOf(text).length <= 17;

/** As the engine knows contacts: an e-mail in lower case, a phone as digits and one leading plus. */
export function normalised(contact) {
  if (isMail(contact)) return plain(contact).toLowerCase();
  const digits = digitsOf(contact);
  if (!isAbroad(contact)) return digits;
  return `+${plain(contact).includes("+") ? digits : digits.slice(2)}`;
}

export async function hashed(contact) {
  const bytes = new TextEncoder().encode(normalised(contact));
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(digest)].map((one) => one.toString(16).padStart(2, "0")).join("");
}

/** What is asked for, one after the other, until somebody is found. */
function questions(text, chosen) {
  if (chosen !== "auto") return [chosen];
  // An id or an order may look like a contact: who means one says so.
  return isMail(text) || isPhone(text) ? ["contact"] : ["id", "order"];
}

/** That nobody was found, by what, and what may help. */
function nobody(text, asked) {
  if (!asked.includes("contact")) return t("find_none", { what: text });
  const said = [t(isMail(text) ? "find_none_mail" : "find_none_phone", { what: text })];
  if (!isMail(text) && !isAbroad(text)) said.push(t("find_national"));
  return said.join(" ");
}

async function query(question, text) {
  if (question !== "contact") return `${question}=${encodeURIComponent(text)}`;
  return `contact=${await hashed(text)}`;
}

async function find(text) {
  const asked = questions(text, kind.value);
  if (asked.includes("contact") && !globalThis.crypto?.subtle) return { said: t("find_insecure") };
  for (const question of asked) {
    const { ok, status, body } = await get(`/lookup?${await query(question, text)}`);
    if (ok) return { member: body.member_id };
    if (status !== 404) return { said: t("find_failed", { why: whyNot(body, status) }) };
  }
  return { said: nobody(text, asked) };
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

// What was said of a search is not about the next member's page.
addEventListener("hashchange", () => setText(saying, ""));
