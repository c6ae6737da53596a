// The connection to the server: one stream of events, which comes back by itself and goes on where it was.

const UNSEEN = 5_000; // A browser has six connections for one server: a tab that nobody sees lets go of its own.
const SILENCE = 25_000; // The server says something every ten seconds: after this the connection is dead.
const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 15_000;

export class Live {
  /**
   * @param onState, onTick: what to do with what comes.
   * @param onLink: told "live" or "lost".
   * @param version: what the page has, or null; with it the server sends only what came since.
   */
  constructor({ onState, onTick, onLink, version }) {
    this.onState = onState;
    this.onTick = onTick;
    this.onLink = onLink;
    this.version = version;
    this.delay = FIRST_DELAY;
    this.source = null;
    this.watchdog = 0;
    this.resting = 0;
    this.waiting = []; // messages that came and were not handled yet
    document.addEventListener("visibilitychange", () => this.onVisibility());
  }

  onVisibility() {
    clearTimeout(this.resting);
    if (document.hidden) this.resting = setTimeout(() => this.rest(), UNSEEN);
    else if (this.source === null) this.open();
  }

  rest() {
    clearTimeout(this.watchdog);
    this.source?.close();
    this.source = null;
  }

  open() {
    const since = this.version();
    this.source = new EventSource(since === null ? "api/events" : `api/events?since=${encodeURIComponent(since)}`);
    this.source.addEventListener("state", (event) => this.take(event, this.onState));
    this.source.addEventListener("tick", (event) => this.take(event, this.onTick));
    this.source.onerror = () => this.onError();
    this.guard();
  }

  take(event, handle) {
    this.delay = FIRST_DELAY;
    this.guard();
    this.onLink("live");
    this.waiting.push(() => handle(JSON.parse(event.data)));
    if (this.waiting.length === 1) this.plan();
  }

  /** Handle one message a frame: a large state comes in parts, all at once. What is not seen has no frames. */
  plan() {
    const handleNext = () => {
      this.waiting.shift()();
      if (this.waiting.length) this.plan();
    };
    if (document.hidden) setTimeout(handleNext);
    else requestAnimationFrame(handleNext);
  }

  guard() {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.reopen(0), SILENCE);
  }

  onError() {
    this.onLink("lost");
    // A connection that was cut is made again by the browser itself; an answer that is no stream ends the source.
    if (this.source.readyState === EventSource.CLOSED) this.reopen(this.delay);
  }

  reopen(delay) {
    if (this.source === null) return;
    this.rest();
    this.onLink("lost");
    this.delay = Math.min(this.delay * 2, LONGEST_DELAY);
    setTimeout(async () => {
      if (await mustLogIn()) location.reload();
      else if (this.source === null && !document.hidden) this.open();
    }, delay);
  }
}

/** An EventSource does not tell why it was refused. */
async function mustLogIn() {
  try {
    return (await fetch("api/session", { cache: "no-store" })).status === 401;
  } catch {
    return false;
  }
}
