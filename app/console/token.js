// The worker's token: kept in this tab only, and sent with what is asked.

const KEY = "token";
let known = "";
try {
  known = sessionStorage.getItem(KEY) ?? "";
} catch {
  // Then it is kept as long as the page is.
}

export const token = () => known;

export function keepToken(given) {
  known = given;
  try {
    if (given) sessionStorage.setItem(KEY, given);
    else sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
}

export const authorization = () => (known ? { Authorization: `Bearer ${known}` } : {});
