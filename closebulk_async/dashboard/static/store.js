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
    this.clockAhead = 0;
  }

  /** The server's time now, in milliseconds: the machine of whoever looks may be minutes off. */
  now() {
    return Date.now() + this.clockAhead;
  }

  /**
   * Take in a state: all of it where it says `reset`, else what has changed since the version before.
   *
   * Returns what was new, what has changed (with how it was before) and what is gone.
   */
  apply(state) {
    const added = [];
    const changed = [];
    const removed = [];
    if (state.reset) {
      const kept = new Set(state.actions.map((row) => row.ref));
      for (const ref of this.rows.keys()) if (!kept.has(ref)) removed.push(ref);
    } else {
      for (const ref of state.removed) if (this.rows.has(ref)) removed.push(ref);
    }
    for (const ref of removed) this.rows.delete(ref);
    for (const row of state.actions) {
      const before = this.rows.get(row.ref);
      if (before === undefined) {
        added.push(row);
      } else {
        if (!state.reset) row.samples = joined(before.samples, row.samples);
        changed.push({ before, row });
      }
      this.rows.set(row.ref, row);
    }
    this.version = state.version;
    this.starts = state.starts;
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

function joined(before, later) {
  if (later.length === 0) return before;
  const samples = before.concat(later);
  return samples.length > MOST_SAMPLES ? samples.slice(-MOST_SAMPLES) : samples;
}
