// The worker's answers: one at a time, and as they come.

import { authorization } from "./token.js";

// Figures come each second: a connection that says nothing for this long is dead.
const SILENT_MS = 8000;
const RETRY_MS = 1000;
const REFUSALS = { 401: "refused", 403: "refused", 503: "full" };

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks for JSON: {ok, status, body}; status 0 when nobody answers. */
export async function ask(path, options = {}) {
  try {
    const headers = { ...authorization(), ...options.headers };
    const answer = await fetch(path, { cache: "no-store", ...options, headers });
    const body = await answer.json().catch(() => null);
    // What is no JSON is not what was asked for: a browser leaves out members called "." and "..".
    return { ok: answer.ok && body !== null, status: answer.status, body: body ?? {} };
  } catch (error) {
    return { ok: false, status: 0, body: { reason: String(error.message) } };
  }
}

export const get = (path) => ask(path);

/** The events of a text/event-stream: {event, id, data}. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = { data: "" };
      for (const line of block.split("\n")) {
        const [, name, said] = /^([a-z]*): ?(.*)$/.exec(line) ?? [];
        if (name) fields[name] = said;
      }
      yield fields;
    }
  }
}

/**
 * Follows /stream and comes back whenever it breaks: `on.feed(entry)`, `on.live(figures)`,
 * `on.stages(them)`, `on.state("live" | "lost" | "refused" | "full", why)`, `why` an answer's body.
 * What is missed while away is sent then.
 *
 * Not an EventSource: that cannot send a token, and gives up for good when it is refused once.
 */
export class Stream {
  #on;
  #last;

  constructor(on, last) {
    this.#on = on;
    this.#last = last;
    this.#follow();
  }

  async #follow() {
    for (;;) {
      const { status, body } = (await this.#read().catch(() => null)) ?? {};
      this.#on.state(REFUSALS[status] ?? "lost", body);
      await pause(RETRY_MS);
    }
  }

  /** Tells what comes until it breaks; returns what a worker says that refuses. */
  async #read() {
    const silent = new AbortController();
    const patience = () => setTimeout(() => silent.abort(), SILENT_MS);
    let timer = patience();
    try {
      const answer = await fetch("/stream", {
        cache: "no-store",
        headers: { ...authorization(), "Last-Event-ID": this.#last },
        signal: silent.signal,
      });
      if (!answer.ok) return { status: answer.status, body: await answer.json() };
      this.#on.state("live");
      for await (const told of eventsOf(answer.body)) {
        clearTimeout(timer);
        timer = patience();
        this.#tell(told);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #tell({ event, id, data }) {
    if (event !== "feed" && event !== "live" && event !== "stages") return;
    this.#on[event](JSON.parse(data));
    if (id) this.#last = id;
  }
}
