// A list of actions: a line for each. Those that can be seen are drawn at once, the others when nothing else is to do.

import { Chart, ratesOf } from "./charts.js";
import { count, day, duration, percent, rate, shortId, title } from "./format.js";
import { hasEnded } from "./store.js";

const SLICE = 3; // milliseconds for what is drawn at a time: the browser needs the rest of a frame for layout and paint.
const ROWS_A_FRAME = 5; // Each has to be laid out and painted: a screen of them is drawn within four frames.
const SEEN = "contentvisibilityautostatechange"; // which rows the browser lays out, as it knows by itself
const MARGIN = "150px";
const template = document.getElementById("row");

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Status, as people read it: the service's word, or what is wrong with following it. */
export function wordOf(row) {
  return row.phase === "lost" ? "lost" : (row.status ?? "unknown");
}

/** What keeps it from being followed, for as long as it does: an error that a good poll came after is over. */
export function problemOf(row) {
  if (row.error !== null) return row.error;
  return row.last_error !== null && row.failed_at !== null && row.failed_at >= row.seen_at ? row.last_error : "";
}

/** Seconds until it ends, as of now: between two polls the estimate of the last one is counted down. */
export function secondsLeft(row, now) {
  return row.eta === null || row.phase !== "running" ? null : Math.max(0, row.eta - (now - Date.parse(row.seen_at)) / 1000);
}

/** Show a share in a bar; without one, only that something goes on. */
export function fill(bar, row) {
  const { fraction } = row;
  bar.dataset.phase = row.phase;
  bar.classList.toggle("vague", fraction === null && row.phase === "running");
  if (fraction === null) bar.removeAttribute("aria-valuenow");
  else bar.setAttribute("aria-valuenow", String(Math.floor(fraction * 100 + 1e-9)));
  bar.firstElementChild.style.transform = `scaleX(${fraction ?? 0})`;
}

export function countsOf(row) {
  if (row.total === null) return row.processed ? `${count(row.processed)} processed` : "";
  return `${count(row.processed)} of ${count(row.total)}`;
}

/** When the browser has nothing else to do; not all of them say so. */
export function whenIdle(work) {
  if ("requestIdleCallback" in window) return requestIdleCallback(work, { timeout: 1000 });
  return setTimeout(() => {
    const end = performance.now() + SLICE;
    work({ timeRemaining: () => end - performance.now() });
  }, 50);
}

class RowView {
  constructor(row) {
    this.element = template.content.firstElementChild.cloneNode(true);
    this.element.id = `row-${row.ref}`;
    const find = (selector) => this.element.querySelector(selector);
    this.parts = {
      link: find(".open"), name: find(".name"), id: find(".id"), badge: find(".badge"), bar: find(".bar"), share: find(".share"),
      counts: find(".counts"), rate: find(".rate"), eta: find(".eta"), problem: find(".problem"), spark: find(".spark"),
    };
    this.parts.link.href = `#/${row.ref}`;
    this.parts.link.title = row.ref;
    find("use").setAttribute("href", `#icon-${row.kind}`);
    write(this.parts.id, shortId(row.id));
    this.parts.bar.setAttribute("aria-label", `Progress of ${row.ref}`);
    this.chart = new Chart(this.parts.spark, { height: 28 });
    this.row = row;
    this.isVisible = false; // on the screen, or nearly
    this.isShown = false; // passes the filters
    this.element.hidden = true;
  }

  draw(now) {
    const { row, parts } = this;
    write(parts.name, title(row));
    write(parts.badge, wordOf(row));
    parts.badge.dataset.phase = row.phase;
    fill(parts.bar, row);
    write(parts.share, row.fraction === null ? "" : percent(row.fraction));
    write(parts.counts, countsOf(row));
    const problem = problemOf(row);
    write(parts.problem, problem);
    parts.problem.hidden = problem === "";
    this.drawTimes(now);
  }

  drawChart() {
    if (this.isVisible && !hasEnded(this.row)) this.chart.draw(ratesOf(this.row.samples));
  }

  /** What changes by itself while nothing comes. */
  drawTimes(now) {
    const { row, parts } = this;
    if (hasEnded(row)) {
      write(parts.rate, "");
      write(parts.eta, row.ended_at === null ? "" : day(row.ended_at, now));
      return;
    }
    const left = secondsLeft(row, now);
    write(parts.rate, row.rate === null || row.phase !== "running" ? "" : rate(row.rate));
    write(parts.eta, left === null ? "" : `${duration(left)} left`);
  }
}

export class RowList {
  /**
   * @param instantOf: what the rows are sorted by, the newest first.
   * @param shows: whether a row passes the filters.
   */
  constructor(element, { instantOf, shows, now }) {
    this.element = element;
    this.instantOf = instantOf;
    this.shows = shows;
    this.now = now;
    this.views = new Map();
    this.order = []; // the views, as they stand in the list
    this.nShown = 0; // that pass the filters
    this.urgent = new Set();
    this.later = new Set();
    this.charts = new Set(); // of rows that were drawn, to be drawn anew
    this.frame = 0;
    this.idle = 0;
    this.current = null; // the row that the Tab key comes to
    // Looking a thousand rows over in each frame costs more than drawing: only browsers that do not tell have to.
    this.observer = "ContentVisibilityAutoStateChangeEvent" in window ? null : new IntersectionObserver(
      (entries) => entries.forEach(({ target, isIntersecting }) => this.onSeen(target, isIntersecting)), { rootMargin: MARGIN },
    );
    element.addEventListener(SEEN, (event) => this.onSeen(event.target, !event.skipped));
    element.addEventListener("keydown", (event) => this.onKey(event));
    element.addEventListener("focusin", (event) => this.makeCurrent(event.target.closest(".open")));
  }

  get size() {
    return this.views.size;
  }

  /** A new row, or a new state of one. It is drawn soon. */
  put(row) {
    const view = this.views.get(row.ref);
    if (view === undefined) {
      this.later.add(this.insert(row));
    } else {
      view.row = row;
      this.sift(view);
      (view.isVisible ? this.urgent : this.later).add(view);
    }
    this.plan();
  }

  remove(ref) {
    const view = this.views.get(ref);
    if (view === undefined) return;
    this.views.delete(ref);
    if (view.isShown) this.nShown -= 1;
    const place = this.order.indexOf(view);
    this.order.splice(place, 1);
    this.urgent.delete(view);
    this.later.delete(view);
    this.charts.delete(view);
    this.observer?.unobserve(view.element);
    view.chart.clear();
    const hadFocus = view.element.contains(document.activeElement);
    view.element.remove();
    const neighbour = [...this.order.slice(place), ...this.order.slice(0, place).reverse()].find(({ isShown }) => isShown);
    if (this.current === view) this.makeCurrent(neighbour?.parts.link ?? null);
    if (hadFocus) (neighbour?.parts.link ?? this.element).focus();
  }

  insert(row) {
    const view = new RowView(row);
    const instant = this.instantOf(row) ?? "";
    let low = 0;
    let high = this.order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.instantOf(this.order[middle].row) ?? "") >= instant) low = middle + 1;
      else high = middle;
    }
    this.views.set(row.ref, view);
    this.element.insertBefore(view.element, this.order[low]?.element ?? null);
    this.order.splice(low, 0, view);
    this.sift(view);
    this.observer?.observe(view.element);
    return view;
  }

  /** Show a row where it passes the filters, and only there. */
  sift(view) {
    const passes = this.shows(view.row);
    if (passes === view.isShown) return;
    view.isShown = passes;
    view.element.hidden = !passes;
    this.nShown += passes ? 1 : -1;
    // The Tab key must find somebody, whoever hides or appears.
    if (passes ? this.current === null : this.current === view) this.makeCurrent(this.first());
  }

  /** After another filter was chosen. */
  filter() {
    for (const view of this.order) this.sift(view);
  }

  /** Draw all that can be seen again, in other colours. */
  recolour() {
    for (const view of this.order) {
      view.chart.clear();
      if (view.isVisible) this.urgent.add(view);
    }
    this.plan();
  }

  resize() {
    for (const view of this.order) if (view.isVisible) view.chart.resize();
  }

  /** A second has passed. */
  tick() {
    const now = this.now();
    for (const view of this.order) if (view.isVisible && !hasEnded(view.row)) view.drawTimes(now);
  }

  // Drawing -----------------------------------------------------------------------------------------------------------

  plan() {
    if (!this.frame && this.urgent.size) this.frame = requestAnimationFrame(() => this.onFrame());
    // A search in the page and a screen reader come to what nobody sees: it is drawn too, when there is time.
    if (!this.idle && this.later.size + this.charts.size) this.idle = whenIdle((deadline) => this.onIdle(deadline));
  }

  onFrame() {
    this.frame = 0;
    let left = ROWS_A_FRAME;
    this.drawSome(this.urgent, () => left-- > 0);
  }

  onIdle(deadline) {
    this.idle = 0;
    const hasTime = () => deadline.timeRemaining() > 1;
    for (const view of this.charts) {
      if (!hasTime()) break;
      this.charts.delete(view);
      view.drawChart();
    }
    this.drawSome(this.later, hasTime);
  }

  drawSome(views, hasTime) {
    const now = this.now();
    for (const view of views) {
      if (!hasTime()) break;
      this.urgent.delete(view);
      this.later.delete(view);
      view.draw(now);
      if (view.isVisible) this.charts.add(view);
    }
    this.plan();
  }

  onSeen(element, isVisible) {
    const view = this.views.get(element.id.slice("row-".length));
    if (view === undefined) return;
    view.isVisible = isVisible;
    if (isVisible) this.urgent.add(view);
    else view.chart.clear();
    this.plan();
  }

  // Keys --------------------------------------------------------------------------------------------------------------

  first() {
    return this.order.find(({ isShown }) => isShown)?.parts.link ?? null;
  }

  /** Let the Tab key come to this row of the list, and to no other. */
  makeCurrent(link) {
    if (this.current !== null) this.current.parts.link.tabIndex = -1;
    const view = link === null ? undefined : this.views.get(link.closest(".row").id.slice("row-".length));
    this.current = view ?? null;
    if (this.current !== null) this.current.parts.link.tabIndex = 0;
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey || this.current === null) return;
    event.preventDefault();
    const shown = this.order.filter(({ isShown }) => isShown);
    const at = shown.indexOf(this.current) + step;
    shown[Math.max(0, Math.min(shown.length - 1, at))]?.parts.link.focus();
  }
}
