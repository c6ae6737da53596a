// What a screen reader is told without being asked: ends and losses, and no counters.

const PAUSE = 5_000; // Between two sentences. What comes meanwhile is summed up.

export class Announcer {
  constructor(element) {
    this.element = element;
    this.waiting = [];
    this.timer = 0;
  }

  /** Stand where it is heard: what is outside of an open dialog is not. */
  moveInto(place) {
    place.append(this.element);
  }

  say(sentence) {
    this.waiting.push(sentence);
    if (!this.timer) this.speak();
  }

  speak() {
    const [only, ...others] = this.waiting;
    this.element.textContent = others.length ? `${this.waiting.length} news: ${this.waiting.slice(-3).join(". ")}` : only;
    this.waiting = [];
    this.timer = setTimeout(() => {
      this.timer = 0;
      if (this.waiting.length) this.speak();
    }, PAUSE);
  }
}
