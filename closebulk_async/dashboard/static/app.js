// The page: what comes from the server goes into the store, and from there into its parts.

import { Announcer } from "./announcer.js";
import { Chart, Throughput, WINDOW } from "./charts.js";
import { Detail } from "./detail.js";
import { KINDS, ago, clock, count, duration, rate } from "./format.js";
import { Live } from "./live.js";
import { RowList, whenIdle } from "./rows.js";
import { Store, hasEnded } from "./store.js";

const element = (id) => document.getElementById(id);
const store = new Store();
const now = () => store.now();
const announcer = new Announcer(element("announcer"));
const throughput = new Throughput();
const totalChart = new Chart(element("total-chart"), { height: 120, axes: true });
const session = { can_control: false, csrf: "", needs_token: false, renew: readSession };
await readSession();

/** What this server lets the page do; whether it could be asked. Another one, after a restart, may say something else. */
async function readSession() {
  try {
    const answer = await fetch("api/session", { cache: "no-store" });
    if (!answer.ok) return false;
    Object.assign(session, await answer.json());
  } catch {
    return false;
  }
  element("leave").hidden = !session.needs_token;
  return true;
}

// Filters -------------------------------------------------------------------------------------------------------------

const PHASES = { running: "running", paused: "paused", lost: "lost", done: "done", failed: "failed" };
const chosen = { kinds: new Set(), phases: new Set(), text: "" };

function shows(row) {
  return (
    (chosen.kinds.size === 0 || chosen.kinds.has(row.kind)) &&
    (chosen.phases.size === 0 || chosen.phases.has(row.phase)) &&
    (chosen.text === "" || row.ref.toLowerCase().includes(chosen.text) || (row.label ?? "").toLowerCase().includes(chosen.text))
  );
}

function makeToggles(group, words, set) {
  for (const [value, word] of Object.entries(words)) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.value = value;
    button.setAttribute("aria-pressed", "false");
    button.append(`${word} `, Object.assign(document.createElement("span"), { className: "count" }));
    button.addEventListener("click", () => {
      if (!set.delete(value)) set.add(value);
      button.setAttribute("aria-pressed", String(set.has(value)));
      filter();
    });
    group.append(button);
  }
}

makeToggles(element("kinds"), KINDS, chosen.kinds);
makeToggles(element("phases"), PHASES, chosen.phases);
element("search").addEventListener("input", (event) => {
  chosen.text = event.target.value.trim().toLowerCase();
  filter();
});

function filter() {
  running.filter();
  recent.filter();
  drawCounts();
}

// Parts ---------------------------------------------------------------------------------------------------------------

const running = new RowList(element("running"), { instantOf: (row) => row.created_at, shows, now });
const recent = new RowList(element("recent"), { instantOf: (row) => row.ended_at ?? row.created_at, shows, now });
const detail = new Detail({ store, session, announcer });

function listOf(row) {
  return hasEnded(row) ? recent : running;
}

const EMPTY = { running: "Nothing runs right now.", recent: "Nothing has ended yet." };

function drawCounts() {
  for (const [list, name] of [[running, "running"], [recent, "recent"]]) {
    const { nShown, size } = list;
    write(`${name}-count`, nShown === size ? count(size) : `${count(nShown)} of ${count(size)}`);
    element(`${name}-empty`).hidden = nShown > 0;
    const isWaiting = store.close.status === "connecting";
    write(`${name}-empty`, size > 0 ? "No action passes the filters." : isWaiting ? "Waiting for the first answer." : EMPTY[name]);
  }
}

function drawOverview() {
  const counts = new Map();
  const countOne = (word) => counts.set(word, (counts.get(word) ?? 0) + 1);
  let [left, perSecond] = [0, 0];
  for (const row of store.rows.values()) {
    countOne(row.kind);
    countOne(row.phase);
    if (row.phase !== "running") continue;
    left += row.total === null ? 0 : Math.max(0, row.total - row.processed);
    perSecond += row.rate ?? 0;
  }
  for (const group of ["kinds", "phases"]) {
    for (const button of element(group).children) button.lastChild.textContent = count(counts.get(button.dataset.value) ?? 0);
  }
  const n = counts.get("running") ?? 0;
  write("n-running", count(n));
  write("n-paused", count(counts.get("paused") ?? 0));
  write("n-left", count(left));
  write("n-rate", perSecond ? rate(perSecond) : "0/s");
  document.title = n ? `(${n}) closebulk` : "closebulk";
}

function write(id, text) {
  const node = element(id);
  if (node.textContent !== text) node.textContent = text;
}

/** All that is not of one row, once for however much has come: a state may come in parts. The rows go first. */
function drawRest() {
  restIsDue = false;
  drawCounts();
  drawOverview();
  drawTotal();
  drawClose();
  drawLimits();
  drawStarts();
  drawForbidden();
}

let restIsDue = false;

function planRest() {
  if (!restIsDue) whenIdle(drawRest);
  restIsDue = true;
}

function drawTotal() {
  const series = throughput.series(now() / 1000);
  totalChart.draw(series);
  const fastest = Math.max(...series[1]);
  element("total-chart").setAttribute(
    "aria-label",
    fastest > 0 ? `At most ${rate(fastest)} within the last ${duration(WINDOW)}` : "No throughput was seen yet",
  );
}

function drawClose() {
  const { status, message, since, last_ok_at: lastOk } = store.close;
  const before = element("close-state").dataset.state;
  if (status === "error" && before !== "error") announcer.say("Close does not answer; what is shown is as it was");
  if (status === "ok" && before === "error") announcer.say("Close answers again");
  setPill("close-state", status, status === "ok" ? "Close: answers" : status === "connecting" ? "Close: connecting" : "Close: does not answer");
  const banner = element("trouble");
  banner.hidden = status !== "error";
  const last = lastOk === null ? "It has not answered yet" : `The last good answer came ${ago(lastOk, now())}`;
  if (status === "error") banner.textContent = `Since ${clock(since)} Close cannot be read: ${message}. ${last}. What is shown is as of then; the jobs go on at Close.`;
}

function setPill(id, state, text) {
  const pill = element(id);
  if (pill.dataset.state === state && pill.lastChild.textContent === text) return;
  pill.dataset.state = state;
  pill.lastChild.textContent = text;
}

function drawLimits() {
  const list = element("budget");
  const template = element("limit").content.firstElementChild;
  while (list.children.length > store.limits.length) list.lastElementChild.remove();
  store.limits.forEach((limit, at) => {
    const item = list.children[at] ?? list.appendChild(template.cloneNode(true));
    const [title, meter, said] = item.children;
    title.textContent = limit.group;
    const { remaining, said: words } = readLimit(limit);
    meter.hidden = limit.limit === null;
    if (!meter.hidden) {
      meter.setAttribute("aria-label", `Requests left of ${limit.group}`);
      meter.setAttribute("aria-valuemax", String(limit.limit));
      meter.setAttribute("aria-valuenow", String(remaining));
      meter.firstElementChild.style.transform = `scaleX(${limit.limit > 0 ? Math.min(1, remaining / limit.limit) : 0})`;
      meter.dataset.phase = remaining / limit.limit < 0.1 ? "failed" : "running";
    }
    said.textContent = words;
  });
  element("budget-empty").hidden = store.limits.length > 0;
}

/** What is left of a limit, and all that is known of it in words. */
function readLimit(limit) {
  const words = [];
  const secondsUntil = (instant) => (instant === null ? null : Math.max(0, (Date.parse(instant) - now()) / 1000));
  const resets = secondsUntil(limit.resets_at);
  // A window that is over has all of its requests again, whatever the last answer said of the one before.
  const remaining = limit.remaining === null || resets === 0 ? limit.limit : limit.remaining;
  if (limit.limit !== null) {
    const owner = limit.scope === null ? "" : ` of the ${limit.scope}`;
    words.push(`${count(remaining)} of ${count(limit.limit)} requests left${owner}`);
  }
  if (resets) words.push(`${duration(resets)} to the reset`);
  const stopped = secondsUntil(limit.stopped_until);
  if (stopped) words.push(`stopped by a 429 for ${duration(stopped)}`);
  if (limit.n_throttled) words.push(`${count(limit.n_throttled)} answers 429 so far`);
  return { remaining, said: words.join(", ") };
}

function drawForbidden() {
  const kinds = store.forbidden.map((kind) => KINDS[kind]);
  element("forbidden").hidden = kinds.length === 0;
  write("forbidden", kinds.length ? `This key may not read ${kinds.join(", ")}: what runs of that is not shown.` : "");
}

function drawStarts() {
  const starts = store.starts ?? [];
  element("open-starts").hidden = starts.length === 0;
  element("starts").replaceChildren(
    ...starts.map((start) => {
      const item = document.createElement("li");
      const key = start.idempotency_key === null ? "" : `, key ${start.idempotency_key}`;
      const state = start.state === "posting" ? "may have been sent" : "was not sent";
      item.textContent = `bulk ${start.kind}, written down ${ago(start.created_at, now())}${key}: ${state} (intent ${start.intent})`;
      return item;
    }),
  );
}

// What comes ----------------------------------------------------------------------------------------------------------

function tell({ before, row }) {
  if (before.status === row.status && before.phase === row.phase) return;
  const name = `${KINDS[row.kind]} ${row.id.slice(-6)}`;
  const words = { done: "is done", failed: "has failed", paused: "is paused", lost: "cannot be followed any more" }[row.phase];
  if (words !== undefined) announcer.say(`${name} ${words}`);
}

function onState(state) {
  if (state.reset) throughput.clear();
  if (store.version !== null && epochOf(state) !== epochOf(store)) readSession();
  const isWhole = state.reset || store.unconfirmed !== null;
  const { added, changed, removed } = store.apply(state);
  for (const ref of removed) {
    running.remove(ref);
    recent.remove(ref);
  }
  for (const row of added) {
    throughput.add(row.samples);
    listOf(row).put(row);
    detail.update({ row });
  }
  for (const change of changed) {
    const { before, row } = change;
    // The last sample of before is where the new ones go on; a whole state has all of them.
    throughput.add(isWhole ? row.samples : row.samples.slice(-newSamples(before, row) - 1));
    if (listOf(before) !== listOf(row)) listOf(before).remove(row.ref);
    listOf(row).put(row);
    tell(change);
    detail.update(change);
  }
  planRest();
}

function epochOf({ version }) {
  return version.split(":")[0];
}

function newSamples(before, row) {
  const last = before.samples.at(-1)?.[0] ?? -Infinity;
  return row.samples.reduce((n, [at]) => n + (at > last ? 1 : 0), 0);
}

const live = new Live({
  onState,
  onTick: (message) => {
    store.note(message);
    drawClose();
    drawLimits();
  },
  onLink: (state) => {
    const before = element("page-state").dataset.state;
    if (state === "lost" && before === "live") announcer.say("The connection to the dashboard is lost; trying again");
    if (state === "live" && before === "lost") announcer.say("The dashboard is live again");
    setPill("page-state", state, state === "live" ? "live" : "reconnecting");
  },
  version: () => store.version,
});
live.open();

setInterval(() => {
  running.tick();
  drawTotal();
  drawLimits();
  if (store.close.status === "error") drawClose();
}, 1000);

// Size and colours ----------------------------------------------------------------------------------------------------

new ResizeObserver(() => {
  totalChart.resize();
  detail.chart.resize();
  running.resize();
}).observe(document.body);

const THEMES = [undefined, "light", "dark"];
const THEME_NAMES = ["as the system has them", "light", "dark"];

function recolour() {
  totalChart.clear();
  drawTotal();
  detail.chart.clear();
  detail.draw();
  running.recolour();
}

function nameTheme() {
  const name = THEME_NAMES[THEMES.indexOf(document.documentElement.dataset.theme)];
  element("theme").setAttribute("aria-label", `Colours: ${name}`);
  element("theme").title = `Colours: ${name}`;
}

element("theme").addEventListener("click", () => {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  if (theme === undefined) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("closebulk-theme", theme ?? "");
  } catch {
    // As in theme.js: then the choice lasts as long as the page.
  }
  nameTheme();
  recolour();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
nameTheme();
detail.follow();
