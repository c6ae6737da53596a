// One action, whole: in a dialog of its own, which the address names.

import { Chart, ratesOf } from "./charts.js";
import { KINDS, duration, moment, percent, rate, title } from "./format.js";
import { countsOf, fill, secondsLeft, wordOf } from "./rows.js";

const PERIOD = 15_000; // The row comes by itself; the rest is asked for again after this time, and when the status changes.
const element = (id) => document.getElementById(id);

const CONFIRM = {
  pause: {
    title: "Pause this action?",
    text: "What is under way may still be processed. It can be resumed for seven days; after that it stays as it is.",
    yes: "Pause it",
  },
  resume: { title: "Resume this action?", text: "It goes on with what it has not processed yet.", yes: "Resume it" },
};

export class Detail {
  /** @param session: what the page may do, with `renew()` for when the server has begun anew. */
  constructor({ store, session, announcer }) {
    this.store = store;
    this.session = session;
    this.announcer = announcer;
    this.ref = null;
    this.shown = null; // the answer of the server
    this.timer = 0;
    this.dialog = element("detail");
    this.chart = new Chart(element("detail-chart"), { height: 160, axes: true });
    element("detail-close").addEventListener("click", () => this.dialog.close());
    element("detail-copy").addEventListener("click", () => navigator.clipboard?.writeText(this.ref));
    this.dialog.addEventListener("close", () => this.onClose());
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close(); // outside of it
    });
    for (const what of ["pause", "resume"]) element(what).addEventListener("click", () => this.change(what));
    window.addEventListener("hashchange", () => this.follow());
  }

  /** Show what the address names, or nothing. */
  follow() {
    const ref = location.hash.startsWith("#/") ? decoded(location.hash.slice(2)) : null;
    if (ref === this.ref) return;
    if (ref === null) this.dialog.close();
    else this.open(ref);
  }

  open(ref) {
    this.ref = ref;
    this.shown = null;
    this.chart.clear();
    for (const id of ["detail-words", "detail-query", "detail-json", "detail-facts", "detail-timeline", "control-error"]) element(id).textContent = "";
    element("detail-ref").textContent = ref;
    element("detail-title").textContent = KINDS[ref.split(":")[0]] ?? ref;
    element("detail-status").textContent = "";
    element("detail-share").textContent = "";
    element("detail-chart").setAttribute("aria-label", "No throughput was seen yet");
    element("controls").hidden = true;
    fill(element("detail-bar"), { phase: "paused", fraction: null });
    this.fail(null);
    if (!this.dialog.open) this.dialog.showModal();
    this.announcer.moveInto(this.dialog); // what is outside of a dialog, nobody hears
    element("detail-title").focus();
    this.draw();
    this.load();
  }

  onClose() {
    clearTimeout(this.timer);
    this.announcer.moveInto(document.body);
    const ref = this.ref;
    this.ref = null;
    if (location.hash.startsWith("#/")) history.pushState(null, "", location.pathname + location.search);
    document.getElementById(`row-${ref}`)?.querySelector(".open").focus();
  }

  async load() {
    clearTimeout(this.timer);
    const ref = this.ref;
    if (ref === null) return;
    try {
      const answer = await fetch(`api/actions/${encodeURIComponent(ref)}`, { cache: "no-store" });
      const body = await answer.json();
      if (ref !== this.ref) return;
      if (answer.ok) {
        this.shown = body;
        this.fail(null);
        this.draw();
        this.drawAnswer();
      } else {
        this.fail(body.error);
      }
    } catch (error) {
      if (ref === this.ref && this.shown === null) this.fail(`The dashboard's server does not answer: ${error.message}`);
    }
    if (ref === this.ref) this.timer = setTimeout(() => this.load(), PERIOD);
  }

  fail(text) {
    element("detail-error").textContent = text ?? "";
    element("detail-error").hidden = !text;
  }

  /** A new state of the row has come. */
  update({ before, row }) {
    if (row.ref !== this.ref) return;
    this.draw();
    if (before === undefined || before.status !== row.status) this.load();
  }

  draw() {
    const row = this.store.rows.get(this.ref) ?? this.shown?.row;
    if (row === undefined) return;
    element("detail-title").textContent = title(row);
    element("detail-status").textContent = wordOf(row);
    element("detail-status").dataset.phase = row.phase;
    fill(element("detail-bar"), row);
    element("detail-share").textContent = row.fraction === null ? "" : percent(row.fraction);
    this.drawFacts(row);
    const rates = ratesOf(row.samples);
    this.chart.draw(rates);
    if (rates[1].length) {
      const [slowest, fastest] = [Math.min(...rates[1]), Math.max(...rates[1])];
      element("detail-chart").setAttribute("aria-label", `Between ${rate(slowest)} and ${rate(fastest)} while it was watched`);
    }
    const controls = this.session.can_control && row.kind !== "export" && ["running", "paused"].includes(row.phase);
    element("controls").hidden = !controls;
    element("pause").hidden = row.phase !== "running";
    element("resume").hidden = row.phase !== "paused";
  }

  drawFacts(row) {
    const left = secondsLeft(row, this.store.now());
    const facts = {
      Processed: countsOf(row) || "not said",
      Rate: row.rate === null ? null : rate(row.rate),
      "Time left": left === null ? null : duration(left),
      Created: row.created_at && moment(row.created_at),
      Updated: row.updated_at && moment(row.updated_at),
      "Paused since": row.paused_since && moment(row.paused_since),
      Ended: row.ended_at && moment(row.ended_at),
      "Last read": moment(row.seen_at),
      "Last error": row.error ?? (row.last_error && `${row.last_error} (${moment(row.failed_at)})`),
      Intent: this.shown?.intent && `${this.shown.intent.intent}${this.shown.intent.idempotency_key ? `, key ${this.shown.intent.idempotency_key}` : ""}`,
    };
    const lines = Object.entries(facts).filter(([, value]) => value);
    const list = element("detail-facts");
    if (list.children.length !== lines.length) list.replaceChildren(...lines.map(() => pair()));
    lines.forEach(([name, value], at) => {
      const [term, text] = list.children[at].children;
      if (term.textContent !== name) term.textContent = name;
      if (text.textContent !== value) text.textContent = value;
    });
  }

  drawAnswer() {
    const { query, timeline, action } = this.shown;
    element("detail-words").textContent = query.words ?? (query.legacy ? `leads that the search ${JSON.stringify(query.legacy)} finds` : "Close does not say.");
    element("detail-query").textContent = query.json === null ? "none" : JSON.stringify(query.json, null, 2);
    element("detail-json").textContent = JSON.stringify(action, null, 2);
    element("detail-timeline").replaceChildren(
      ...timeline.map(({ status, at }) => {
        const item = document.createElement("li");
        const word = document.createElement("span");
        const time = document.createElement("time");
        word.textContent = status ?? "unknown";
        time.dateTime = at;
        time.textContent = moment(at);
        item.append(word, time);
        return item;
      }),
    );
  }

  async change(what) {
    const ref = this.ref;
    element("control-error").textContent = "";
    if (!(await agrees(CONFIRM[what], ref))) return;
    element("detail-title").focus(); // the button goes away with what it has done
    try {
      let answer = await this.send(what, ref);
      if (answer.status === 403 && (await this.session.renew())) answer = await this.send(what, ref); // another server
      if (!answer.ok) element("control-error").textContent = (await answer.json()).error;
    } catch (error) {
      element("control-error").textContent = `The dashboard's server does not answer: ${error.message}`;
    }
    this.load();
  }

  send(what, ref) {
    const headers = { "X-CSRF-Token": this.session.csrf };
    return fetch(`api/actions/${encodeURIComponent(ref)}/${what}`, { method: "POST", headers });
  }
}

/** What an address names. One that somebody has mistyped names nothing, and harms nothing. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function pair() {
  const box = document.createElement("div");
  box.append(document.createElement("dt"), document.createElement("dd"));
  return box;
}

function agrees({ title, text, yes }, ref) {
  const dialog = element("confirm");
  element("confirm-title").textContent = title;
  element("confirm-text").textContent = `${ref}: ${text}`;
  element("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
