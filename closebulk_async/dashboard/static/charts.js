// Throughput over time, drawn by uPlot (vendor/), and the numbers behind it.

/* global uPlot */

import { clock } from "./format.js";

const BUCKET = 5; // seconds
export const WINDOW = 15 * 60; // seconds

const POINTS = 40; // A counter moves in steps: between samples that lie close together there is only noise.

/** Objects per second over the time of the samples: `[times, rates]`, as uPlot takes them. */
export function ratesOf(samples) {
  const times = [];
  const rates = [];
  if (samples.length < 2) return [times, rates];
  const shortest = (samples.at(-1)[0] - samples[0][0]) / POINTS;
  let [began, before] = samples[0];
  for (const [at, processed] of samples) {
    if (at <= began || at - began < shortest) continue;
    times.push(at);
    rates.push((processed - before) / (at - began));
    [began, before] = [at, processed];
  }
  return [times, rates];
}

/** Objects per second of all actions together, in buckets of some seconds. */
export class Throughput {
  constructor() {
    this.buckets = new Map();
  }

  clear() {
    this.buckets.clear();
  }

  /** Count what was processed between each two of these samples, spread evenly over the time between them. */
  add(samples) {
    for (let i = 1; i < samples.length; i += 1) {
      const [began, before] = samples[i - 1];
      const [ended, after] = samples[i];
      if (after > before && ended > began) this.spread(began, ended, (after - before) / (ended - began));
    }
  }

  spread(began, ended, perSecond) {
    for (let at = Math.max(began, ended - WINDOW); at < ended;) {
      const bucket = Math.floor(at / BUCKET);
      const until = Math.min(ended, (bucket + 1) * BUCKET);
      this.buckets.set(bucket, (this.buckets.get(bucket) ?? 0) + perSecond * (until - at));
      at = until;
    }
  }

  /** `[times, rates]` of the last quarter of an hour. The bucket of this moment is not full yet, and left out. */
  series(now) {
    const last = Math.floor(now / BUCKET) - 1;
    const first = last - WINDOW / BUCKET + 1;
    for (const bucket of this.buckets.keys()) if (bucket < first) this.buckets.delete(bucket);
    const times = [];
    const rates = [];
    for (let bucket = first; bucket <= last; bucket += 1) {
      times.push((bucket + 1) * BUCKET);
      rates.push((this.buckets.get(bucket) ?? 0) / BUCKET);
    }
    return [times, rates];
  }
}

/** A colour of the style sheet as a canvas takes it: of the light or of the dark, whichever is shown. */
function colourIn(element, name) {
  element.style.color = `var(${name})`;
  const { color } = getComputedStyle(element);
  element.style.color = "";
  return color;
}

function options({ element, width, height, axes }) {
  const colour = (name) => colourIn(element, name);
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  return {
    width,
    height,
    padding: axes ? [8, 8, 0, 0] : [2, 0, 2, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: axes }, y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
    axes: axes ? [{ ...axis, size: 28, space: 90, values: (_, times) => times.map(clock) }, { ...axis, size: 52 }] : [{ show: false }, { show: false }],
    series: [{}, { stroke: colour("--accent"), fill: colour("--accent-faint"), width: axes ? 2 : 1.25, points: { show: false } }],
  };
}

/** One chart in an element, made when there is something to draw. */
export class Chart {
  constructor(element, { height, axes = false }) {
    this.element = element;
    this.height = height;
    this.axes = axes;
    this.plot = null;
    this.width = 0;
  }

  draw(data) {
    if (data[0].length < 2) return;
    if (this.plot !== null) {
      this.plot.setData(data);
      return;
    }
    this.width = this.element.clientWidth;
    if (this.width > 0) this.plot = new uPlot(options(this), data, this.element);
  }

  /** After the page has got another size. */
  resize() {
    const width = this.element.clientWidth;
    if (this.plot === null || width === this.width || width === 0) return;
    this.width = width;
    this.plot.setSize({ width, height: this.height });
  }

  /** Take it away: the next `draw` makes another one, in the colours of then. */
  clear() {
    this.plot?.destroy();
    this.plot = null;
  }
}
