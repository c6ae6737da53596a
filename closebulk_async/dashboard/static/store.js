// What is known, and what each message of the server changes of it. Knows no page.

export const MOST_SAMPLES = 240;
const ENDED = new Set(["done", "failed"]);

export const hasEnded = (row) => ENDED.has(row.phase);

export class Store {
  constructor() {
    this.rows = new Map();
    this.version = null;
    this.close = { status: "connecting", message: null, since: null, last_ok_at: null };
    this.limits = [];
    this.starts = null;
    this.forbidden = [];
    this.clockAhead = 0;
    this.unconfirmed = null; // while a whole state comes in parts: what was there before, and may be gone
  }

  /** The server's time now, in milliseconds: the machine of whoever looks may be minutes off. */
  now() {
    return Date.now() + this.clockAhead;
  }

  /**
   * Take in a state: all of it where it says `reset`, else what has changed since the version before. Where it says
   * `more`, the rest follows, and only the last part says a version from which one can go on.
   *
   * Returns what was new, what has changed (with how it was before) and what is gone.
   */
  apply(state) {
    const added = [];
    const changed = [];
    const removed = state.removed.filter((ref) => this.rows.has(ref));
    if (state.reset) this.unconfirmed = new Set(this.rows.keys());
    for (const row of state.actions) this.unconfirmed?.delete(row.ref);
    if (!state.more && this.unconfirmed !== null) {
      removed.push(...[...this.unconfirmed].filter((ref) => this.rows.has(ref) && !removed.includes(ref)));
      this.unconfirmed = null;
    }
    for (const ref of removed) this.rows.delete(ref);
    for (const row of state.actions) {
      const before = this.rows.get(row.ref);
      if (before === undefined) {
        added.push(row);
      } else {
        row.samples = joined(before.samples, row.samples);
        changed.push({ before, row });
      }
      this.rows.set(row.ref, row);
    }
    if (!state.more) this.version = state.version;
    this.starts = state.starts;
    this.forbidden = state.forbidden;
    this.note(state);
    return { added, changed, removed };
  }

  /** What every message tells, a mere tick too. */
  note(message) {
    this.clockAhead = Date.parse(message.now) - Date.now();
    this.close = message.close;
    this.limits = message.limits;
  }
}

/** Both, each once: what was cut off in the middle comes again. */
function joined(before, later) {
  const last = before.at(-1)?.[0] ?? -Infinity;
  const samples = before.concat(later.filter(([at]) => at > last));
  return samples.length > MOST_SAMPLES ? samples.slice(-MOST_SAMPLES) : samples;
}
