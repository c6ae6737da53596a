// The page: what comes from the server goes into the store, and from there into its parts.

import { Announcer } from "./announcer.js";
import { Chart, Throughput, WINDOW } from "./charts.js";
import { Detail } from "./detail.js";
import { KINDS, ago, clock, count, duration, rate } from "./format.js";
import { Live } from "./live.js";
import { RowList } from "./rows.js";
import { Store, hasEnded } from "./store.js";

const element = (id) => document.getElementById(id);
const store = new Store();
const now = () => store.now();
const announcer = new Announcer(element("announcer"));
const throughput = new Throughput();
const totalChart = new Chart(element("total-chart"), { height: 120, axes: true });
const session = await fetch("api/session", { cache: "no-store" }).then((answer) => answer.json());
element("leave").hidden = !session.needs_token;

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
      drawLists();
    });
    group.append(button);
  }
}

makeToggles(element("kinds"), KINDS, chosen.kinds);
makeToggles(element("phases"), PHASES, chosen.phases);
element("search").addEventListener("input", (event) => {
  chosen.text = event.target.value.trim().toLowerCase();
  drawLists();
});

// Parts ---------------------------------------------------------------------------------------------------------------

const running = new RowList(element("running"), { instantOf: (row) => row.created_at, shows, now });
const recent = new RowList(element("recent"), { instantOf: (row) => row.ended_at ?? row.created_at, shows, now });
const detail = new Detail({ store, session });

function listOf(row) {
  return hasEnded(row) ? recent : running;
}

function drawLists() {
  const rows = [...store.rows.values()];
  for (const [list, name] of [[running, "running"], [recent, "recent"]]) {
    const shown = list.filter();
    element(`${name}-count`).textContent = shown === list.size ? count(shown) : `${count(shown)} of ${count(list.size)}`;
    element(`${name}-empty`).hidden = shown > 0;
    element(`${name}-empty`).textContent =
      list.size > 0 ? "No action passes the filters." : store.close.status === "connecting" ? "Waiting for the first answer." : EMPTY[name];
  }
  drawToggleCounts("kinds", rows, (row) => row.kind);
  drawToggleCounts("phases", rows, (row) => row.phase);
}

const EMPTY = { running: "Nothing runs right now.", recent: "Nothing has ended yet." };

function drawToggleCounts(group, rows, valueOf) {
  const counts = new Map();
  for (const row of rows) counts.set(valueOf(row), (counts.get(valueOf(row)) ?? 0) + 1);
  for (const button of element(group).children) button.lastChild.textContent = count(counts.get(button.dataset.value) ?? 0);
}

function drawOverview() {
  let [n, paused, left, perSecond] = [0, 0, 0, 0];
  for (const row of store.rows.values()) {
    if (row.phase === "paused") paused += 1;
    if (row.phase !== "running") continue;
    n += 1;
    left += row.total === null ? 0 : Math.max(0, row.total - row.processed);
    perSecond += row.rate ?? 0;
  }
  element("n-running").textContent = count(n);
  element("n-paused").textContent = count(paused);
  element("n-left").textContent = count(left);
  element("n-rate").textContent = perSecond ? rate(perSecond).replace("/s", "") : "0";
  document.title = n ? `(${n}) closebulk` : "closebulk";
  drawTotal();
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
    const resets = limit.resets_at === null ? 0 : Math.max(0, (Date.parse(limit.resets_at) - now()) / 1000);
    // A window that is over has all of its requests again, whatever the last answer said of the one before.
    const remaining = limit.remaining === null || resets === 0 ? limit.limit : limit.remaining;
    title.textContent = limit.group;
    meter.setAttribute("aria-label", `Requests left of ${limit.group}`);
    meter.setAttribute("aria-valuemax", String(limit.limit));
    meter.setAttribute("aria-valuenow", String(remaining));
    meter.firstElementChild.style.transform = `scaleX(${limit.limit > 0 ? Math.min(1, remaining / limit.limit) : 0})`;
    meter.dataset.phase = remaining / limit.limit < 0.1 ? "failed" : "running";
    const owner = limit.scope === null ? "" : ` of the ${limit.scope}`;
    const throttled = limit.n_throttled ? `; ${count(limit.n_throttled)} answers 429` : "";
    said.textContent = `${count(remaining)} of ${count(limit.limit)} requests left${owner}${resets ? `, ${duration(resets)} to the reset` : ""}${throttled}`;
  });
  element("budget-empty").hidden = store.limits.length > 0;
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
    throughput.add(state.reset ? row.samples : row.samples.slice(-newSamples(before, row) - 1));
    if (listOf(before) !== listOf(row)) listOf(before).remove(row.ref);
    listOf(row).put(row);
    tell(change);
    detail.update(change);
  }
  drawLists();
  drawOverview();
  drawClose();
  drawLimits();
  drawStarts();
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
    if (state === "lost" && element("page-state").dataset.state === "live") announcer.say("The connection to the dashboard is lost; trying again");
    setPill("page-state", state, state === "live" ? "live" : "reconnecting");
  },
  version: () => store.version,
});
live.open();
detail.follow();

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
