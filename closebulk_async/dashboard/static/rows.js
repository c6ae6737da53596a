// A list of actions: a line for each, drawn when there is time, those that can be seen first.

import { Chart, ratesOf } from "./charts.js";
import { count, day, duration, percent, rate, shortId, title } from "./format.js";
import { hasEnded } from "./store.js";

const SLICE = 6; // milliseconds of a frame for all that is drawn: the browser needs the rest for layout and paint.
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
    this.isVisible = false;
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
    if (this.isVisible && !hasEnded(row)) this.chart.draw(ratesOf(row.samples));
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
    this.urgent = new Set();
    this.later = new Set();
    this.frame = 0;
    this.current = null; // the row that the Tab key comes to
    this.observer = new IntersectionObserver((entries) => this.onSeen(entries), { rootMargin: "150px" });
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
      (view.isVisible ? this.urgent : this.later).add(view);
    }
    this.plan();
  }

  remove(ref) {
    const view = this.views.get(ref);
    if (view === undefined) return;
    this.views.delete(ref);
    this.order.splice(this.order.indexOf(view), 1);
    this.urgent.delete(view);
    this.later.delete(view);
    this.observer.unobserve(view.element);
    view.chart.clear();
    const hadFocus = view.element.contains(document.activeElement);
    view.element.remove();
    if (this.current === view) this.makeCurrent(this.first());
    if (hadFocus) (this.first() ?? this.element).focus();
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
    view.element.hidden = !this.shows(row);
    if (this.current === null && !view.element.hidden) this.makeCurrent(view.parts.link);
    this.observer.observe(view.element);
    return view;
  }

  /** After another filter was chosen; how many rows pass it. */
  filter() {
    let shown = 0;
    for (const { element, row } of this.order) {
      element.hidden = !this.shows(row);
      if (!element.hidden) shown += 1;
    }
    if (this.current === null || this.current.element.hidden) this.makeCurrent(this.first());
    return shown;
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
    if (!this.frame && this.urgent.size + this.later.size) this.frame = requestAnimationFrame(() => this.onFrame());
  }

  onFrame() {
    this.frame = 0;
    const end = performance.now() + SLICE;
    const now = this.now();
    for (const some of [this.urgent, this.later]) {
      for (const view of some) {
        if (performance.now() >= end) break;
        some.delete(view);
        this.urgent.delete(view);
        this.later.delete(view);
        view.draw(now);
      }
    }
    this.plan();
  }

  onSeen(entries) {
    for (const { target, isIntersecting } of entries) {
      const view = this.views.get(target.id.slice("row-".length));
      if (view === undefined) continue;
      view.isVisible = isIntersecting;
      if (isIntersecting) this.urgent.add(view);
      else view.chart.clear();
    }
    this.plan();
  }

  // Keys --------------------------------------------------------------------------------------------------------------

  first() {
    return this.order.find(({ element }) => !element.hidden)?.parts.link ?? null;
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
    const shown = this.order.filter(({ element }) => !element.hidden);
    const at = shown.indexOf(this.current) + step;
    shown[Math.max(0, Math.min(shown.length - 1, at))]?.parts.link.focus();
  }
}
