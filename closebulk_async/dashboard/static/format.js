// Numbers and times in the words of the command line.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "numeric", minute: "2-digit" });
const clocks = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

export const KINDS = {
  email: "email",
  delete: "delete",
  edit: "edit",
  sequence_subscription: "sequence",
  export: "export",
};

/** What an action is: its kind, and what it does. An id of a template stays as it is; words of the service lose their `_`. */
export function title({ kind, label }) {
  if (label === null) return KINDS[kind];
  return `${KINDS[kind]} · ${kind === "email" ? label : label.replaceAll("_", " ")}`;
}

/** A count, its thousands apart by a narrow space that breaks no line. */
export function count(number) {
  return whole.format(number).replaceAll(",", "\u202f");
}

/** The two largest units of a duration in seconds: `<1s`, `8s`, `2m 05s`, `3h 07m`, `4d 01h`. */
export function duration(seconds) {
  const rounded = Math.round(seconds);
  if (rounded <= 0) return "<1s";
  for (const [unit, name, smaller, smallerName] of [[DAY, "d", HOUR, "h"], [HOUR, "h", MINUTE, "m"], [MINUTE, "m", 1, "s"]]) {
    if (rounded >= unit) {
      const rest = Math.floor((rounded % unit) / smaller);
      return `${Math.floor(rounded / unit)}${name} ${String(rest).padStart(2, "0")}${smallerName}`;
    }
  }
  return `${rounded}s`;
}

/** Objects per second, minute or hour: the first that makes it at least 1. */
export function rate(perSecond) {
  for (const [seconds, name] of [[1, "s"], [MINUTE, "min"]]) {
    const number = perSecond * seconds;
    if (number >= 1) return `${number >= 100 ? count(number) : number.toFixed(1)}/${name}`;
  }
  return `${(perSecond * HOUR).toFixed(1)}/h`;
}

/** Rounded down, so that 100% is never said before the last object. */
export function percent(fraction) {
  return `${Math.floor(fraction * 100 + 1e-9)}%`;
}

/** An instant in the reader's own time zone. */
export function moment(text) {
  return text === null ? "–" : moments.format(new Date(text));
}

/** When something ended: today the time is enough, before today the day belongs to it. */
export function day(text, now) {
  const then = new Date(text);
  return then.toDateString() === new Date(now).toDateString() ? clocks.format(then) : days.format(then);
}

/** The time of day alone, of ISO text or of Unix seconds. */
export function clock(instant) {
  return clocks.format(typeof instant === "number" ? instant * 1000 : new Date(instant));
}

/** How long ago an instant was: `just now`, `2m 05s ago`. */
export function ago(text, now) {
  const seconds = (now - Date.parse(text)) / 1000;
  return seconds < 1 ? "just now" : `${duration(seconds)} ago`;
}

/** An id that is too long, with its last characters: those tell it from its neighbours. */
export function shortId(id) {
  return id.length <= 24 ? id : `${id.slice(0, 15)}…${id.slice(-7)}`;
}
