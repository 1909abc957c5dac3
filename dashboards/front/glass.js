// What lies over a picture: it takes the pointer and the keys, rings what they point at, and says what that is.
// The picture below is left alone, so that thousands of marks are neither painted nor styled again.

/** What is within a radius of a place. */
function around(x, y, r) {
  return { left: x - r, right: x + r, top: y - r, bottom: y + r };
}

/** Says something to those who listen rather than look. */
function say(text) {
  document.getElementById("said").textContent = text;
}

/** A box of words beside what it speaks of: never over it, never out of the window. */
class Tip {
  constructor(root) {
    this.root = root;
    this.box = make("div", { class: "tip", hidden: "", "aria-hidden": "true" });
    root.append(this.box);
  }

  /** `about` is what is spoken of, in px of the root: { left, right, top, bottom }. */
  show(lines, about) {
    const { box } = this;
    box.replaceChildren(...lines.map((text, place) => make(place ? "div" : "b", { text })));
    box.style.left = "0";
    box.hidden = false;
    const edge = this.root.getBoundingClientRect();
    const { clientWidth, clientHeight } = document.documentElement;
    const [wide, tall] = [box.offsetWidth, box.offsetHeight];
    const [left, top] = [4 - edge.left, 4 - edge.top];
    const [right, bottom] = [left + clientWidth - 8 - wide, top + clientHeight - 8 - tall];
    const inside = (value, low, high) => Math.max(low, Math.min(value, high));
    const [x, y] = [inside(about.left - 8, left, right), inside(about.top - 8, top, bottom)];
    const places = [
      [about.right + 8, y],
      [about.left - 8 - wide, y],
      [x, about.bottom + 8],
      [x, about.top - 8 - tall],
    ];
    const fits = ([across, down]) => across >= left && across <= right && down >= top && down <= bottom;
    const [across, down] = places.find(fits) ?? [x, y];
    box.style.left = `${across}px`;
    box.style.top = `${down}px`;
  }

  hide() {
    this.box.hidden = true;
  }
}

/** Places by cells, so that the nearest is found among few. */
class Grid {
  static cell = 24;
  static reach = 16;

  constructor() {
    this.cells = new Map();
  }

  add(point) {
    const key = this.key(point.x, point.y);
    if (!this.cells.has(key)) this.cells.set(key, []);
    this.cells.get(key).push(point);
  }

  key(x, y) {
    return `${Math.floor(x / Grid.cell)} ${Math.floor(y / Grid.cell)}`;
  }

  /** The nearest point within reach, the last added of equals; null without any. */
  nearest(x, y) {
    let found = null;
    let least = Grid.reach ** 2;
    for (const right of [-1, 0, 1]) {
      for (const down of [-1, 0, 1]) {
        for (const point of this.cells.get(this.key(x + right * Grid.cell, y + down * Grid.cell)) ?? []) {
          const away = (point.x - x) ** 2 + (point.y - y) ** 2;
          if (away <= least) [found, least] = [point, away];
        }
      }
    }
    return found;
  }
}

const STEPS = { ArrowLeft: [-1, "x"], ArrowRight: [1, "x"], ArrowUp: [-1, "y"], ArrowDown: [1, "y"] };
const DRAGGED = 6;

class Glass {
  /**
   * @param root the element around the picture
   * @param find the point at a place in px, or null; a point has x and y, and `search` and `i` of a trial to open
   * @param told what is said of a point: { lines, about }, and whether its ring is `round`
   * @param open what a click or Enter does, if anything
   * @param drag what is done with a box that was drawn: two corners in px
   * @param escape what Escape does besides hiding
   */
  constructor(root, { label, find, told, open, drag, escape }) {
    Object.assign(this, { find, told, open, drag, escape });
    this.surface = make("div", { class: "glass", tabindex: "0", role: "application", "aria-label": label });
    this.ring = make("div", { class: "ring", hidden: "" });
    this.drawn = make("div", { class: "drawn", hidden: "" });
    this.surface.append(this.ring, this.drawn);
    root.append(this.surface);
    this.tip = new Tip(root);
    this.from = null;
    this.setPoints([]);
    const events = {
      pointerdown: this.press,
      pointermove: this.move,
      pointerup: this.release,
      pointercancel: this.leave,
      pointerleave: this.leave,
      keydown: this.key,
      blur: this.leave,
    };
    for (const [kind, work] of Object.entries(events)) this.surface.addEventListener(kind, work.bind(this));
  }

  /** The points that the keys walk over. */
  setPoints(points) {
    this.points = points;
    this.sorted = {};
    this.show(null);
  }

  show(point) {
    const said = this.mark(point);
    this.at = point;
    if (said) this.tip.show(said.lines, said.about);
  }

  /** Rings a point, or none, without a word; what there is to say of it. */
  mark(point) {
    this.at = null;
    this.tip.hide();
    this.ring.hidden = !point;
    if (!point) return null;
    const said = this.told(point);
    this.place(this.ring, said.about);
    this.ring.classList.toggle("round", said.round ?? false);
    return said;
  }

  place(frame, { left, right, top, bottom }) {
    frame.style.transform = `translate(${left}px, ${top}px)`;
    frame.style.width = `${right - left}px`;
    frame.style.height = `${bottom - top}px`;
  }

  where(event) {
    const edge = this.surface.getBoundingClientRect();
    return [event.clientX - edge.left, event.clientY - edge.top];
  }

  press(event) {
    if (event.button !== 0) return;
    this.from = this.where(event);
    if (this.drag && event.pointerType === "mouse") this.surface.setPointerCapture(event.pointerId);
  }

  move(event) {
    const [x, y] = this.where(event);
    if (this.from && this.drag && event.pointerType === "mouse") {
      const [left, top] = [Math.min(x, this.from[0]), Math.min(y, this.from[1])];
      const [right, bottom] = [Math.max(x, this.from[0]), Math.max(y, this.from[1])];
      if (!this.drawn.hidden || Math.hypot(right - left, bottom - top) > DRAGGED) {
        this.drawn.hidden = false;
        this.place(this.drawn, { left, right, top, bottom });
        this.show(null);
        return;
      }
    }
    const found = this.find(x, y);
    if (found !== this.at) this.show(found);
    this.surface.classList.toggle("opens", Boolean(found?.search && this.open));
  }

  release(event) {
    const [corner, dragged] = [this.from, !this.drawn.hidden];
    this.from = null;
    this.drawn.hidden = true;
    if (!corner) return;
    const [x, y] = this.where(event);
    if (dragged) this.drag(corner, [x, y]);
    else {
      this.openAt(this.find(x, y));
    }
  }

  openAt(point) {
    if (point?.search) this.open?.(point);
  }

  leave() {
    this.from = null;
    this.drawn.hidden = true;
    this.show(null);
  }

  /** Left and right go from point to point across, up and down by height. */
  key(event) {
    if (event.key === "Enter" || event.key === " ") {
      this.openAt(this.at);
    } else if (event.key === "Escape") {
      this.show(null);
      this.escape?.();
    } else if (event.key in STEPS || event.key === "Home" || event.key === "End") {
      this.step(event.key);
    } else {
      return;
    }
    event.preventDefault();
  }

  step(key) {
    const [step, by] = STEPS[key] ?? [0, "x"];
    this.sorted[by] ??= [...this.points].sort((one, other) => one[by] - other[by]);
    const sorted = this.sorted[by];
    if (!sorted.length) return;
    const last = sorted.length - 1;
    const now = sorted.indexOf(this.at);
    let next = now < 0 ? (step < 0 ? last : 0) : now + step;
    if (key === "Home") next = 0;
    if (key === "End") next = last;
    this.show(sorted[Math.max(0, Math.min(last, next))]);
    this.ring.scrollIntoView({ block: "nearest" });
    this.show(this.at); // the window may have moved under the box of words
    say(this.told(this.at).lines.join("; "));
  }
}

/** A picture that the pointer and the keys go over: points are { x, y, about, lines() }, with `open` a trial's. */
function pointed(svg, points, label, find, open) {
  const root = make("div", { class: "chart" }, svg);
  const keys = "Arrow keys go from one to the next";
  const glass = new Glass(root, {
    label: `${label} ${keys}${open ? ", Enter opens the trial" : ""}.`,
    find,
    told: ({ about, lines }) => ({ about, lines: lines() }),
    open,
  });
  glass.setPoints(points);
  return root;
}
