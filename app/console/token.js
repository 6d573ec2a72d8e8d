// The worker's token: kept in this tab only, and sent with what is asked.
// An address may bring it behind its #, which no server is told of: it is taken out of there at once.

const KEY = "token";
let known = "";
try {
  known = sessionStorage.getItem(KEY) ?? "";
} catch {
  // Then it is kept as long as the page is.
}

export const token = () => known;

/** Keeps a token from now on, and tells with an event of the window that there is one. */
export function keepToken(given) {
  known = given;
  dispatchEvent(new Event("token"));
  try {
    if (given) sessionStorage.setItem(KEY, given);
    else sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}

function takeFromAddress() {
  const brought = location.hash.slice(1).split("&");
  const given = brought.find((one) => one.startsWith("token="));
  if (given === undefined) return;
  keepToken(given.slice("token=".length));
  const rest = brought.filter((one) => one !== given).join("&");
  history.replaceState(null, "", location.pathname + (rest && `#${rest}`));
}
takeFromAddress();
// The address of the same page with a token, typed into a tab that has it open, loads nothing anew.
addEventListener("hashchange", takeFromAddress);

export const authorization = () => (known ? { Authorization: `Bearer ${known}` } : {});
