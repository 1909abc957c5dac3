// The front: accuracy against cost. Thousands of marks go in as one piece of markup; the pointer finds them by place.

const MARGIN = { left: 46, right: 14, top: 30, bottom: 48 };
/** Marks that are many get smaller, down to this share of their size. */
const SMALLEST = 0.6;
const ROOM = 1500; // px² for each mark, from which on all are drawn in full
const CLEAR = 3; // px between a mark and the name of another one

class Chart {
  /** `onOpen` opens a trial; `onDrawn` is told of each picture. */
  constructor(root, { onOpen, onDrawn }) {
    this.root = root;
    this.onDrawn = onDrawn;
    this.axis = searches[0].objective;
    this.hidden = new Set();
    this.zoom = null;
    this.forget();
    this.svg = canvas(0, 0);
    root.append(this.svg);
    this.glass = new Glass(root, {
      label: "",
      find: (x, y) => this.grid.nearest(x, y) ?? this.dots.nearest(x, y),
      told: (point) => this.told(point),
      open: onOpen,
      drag: (from, to) => this.zoomTo(from, to),
      escape: () => this.zoom && this.setZoom(null),
    });
    new ResizeObserver(() => {
      if (root.clientWidth !== this.width) this.draw();
    }).observe(root);
  }

  /** The range that shows all searches, or what was zoomed into. */
  range() {
    if (this.zoom) return this.zoom;
    const all = searches.map((each) => each.axes[this.axis].range);
    const of = (place, choose) => choose(...all.map((each) => each[place]));
    return [of(0, Math.min), of(1, Math.max), of(2, Math.min), of(3, Math.max)];
  }

  draw() {
    this.width = this.root.clientWidth;
    if (this.width < 200) return; // not laid out yet: the observer comes again
    const axis = searches[0].axes[this.axis];
    const height = Math.max(340, Math.min(560, 0.62 * this.width));
    const box = { ...MARGIN, right: this.width - MARGIN.right, bottom: height - MARGIN.bottom };
    this.view = this.range();
    const [left, right, low, high] = this.view;
    this.box = box;
    this.scale = scaled(box, [left, right, 100 * low, 100 * high]);
    const svg = canvas(this.width, height + 16 * axis.below.length);
    /** What is drawn or written where, for names to keep clear of. */
    this.taken = [];
    this.drawBudgets(svg);
    leftAxis(svg, box, this.scale, ticks(100 * low, 100 * high, 7), searches[0].accuracy);
    bottomAxis(svg, box, this.scale, ticks(left, right, Math.max(3, this.width / 110)), raised(axis.title));
    const middle = (box.left + box.right) / 2;
    axis.below.forEach((text, place) => {
      svg.append(letters(middle, box.bottom + 56 + 16 * place, text, "middle", "muted"));
    });
    const inside = this.zoom ? clipped(svg, box) : svg.appendChild(draw("g"));
    inside.innerHTML = this.markup();
    this.drawNoise(svg);
    this.drawNames(svg);
    this.svg.replaceWith(svg);
    this.svg = svg;
    this.glass.surface.setAttribute(
      "aria-label",
      `Accuracy against ${raised(axis.title)}. Arrow keys go from trial to trial, Enter opens its architecture. ` +
        "The table below has all trials.",
    );
    this.glass.setPoints(this.points);
    this.onDrawn(this);
  }

  /** What is known of a picture before it is drawn. */
  forget() {
    this.points = [];
    this.grid = new Grid();
    this.dots = new Grid();
    this.places = new Map(searches.map((search) => [search, []]));
    /** Whether something lies beyond the picture's right, lower or upper edge. */
    this.beyond = { right: false, under: false, stars: false };
  }

  /** Where a trial is drawn in px: outliers at the edges of the whole picture. */
  place(search, i) {
    const [left, right, low] = this.view;
    const cost = costOf(search, i, this.axis);
    const accuracy = search.trials.accuracy[i];
    const edge = this.zoom ? cost : Math.min(cost, right - 0.015 * (right - left));
    return [this.scale.x(edge), this.scale.y(100 * (this.zoom ? accuracy : Math.max(accuracy, low)))];
  }

  shown(search, i) {
    const group = search.axes[this.axis].groups[i];
    if (group < 0 || this.hidden.has(GROUPS[group].key)) return false;
    return !this.hidden.has(several ? `search ${search.name}` : `backbone ${backboneOf(search, i).name}`);
  }

  inside(x, y) {
    const { left, right, top, bottom } = this.box;
    return x >= left - 1 && x <= right + 1 && y >= top - 1 && y <= bottom + 1;
  }

  /** The trials that are drawn, the faint first. */
  found() {
    const points = [];
    for (const group of ORDER) {
      for (const search of searches) {
        const { groups } = search.axes[this.axis];
        for (let i = 0; i < groups.length; i += 1) {
          if (groups[i] !== group || !this.shown(search, i)) continue;
          const [x, y] = this.place(search, i);
          if (!this.zoom || this.inside(x, y)) points.push({ search, i, group, x, y });
        }
      }
    }
    return points;
  }

  /** All marks and lines as markup of numbers; fills the lists by which the pointer and the keys find them. */
  markup() {
    this.forget();
    this.points = this.found();
    const { left, right, top, bottom } = this.box;
    const room = ((right - left) * (bottom - top)) / Math.max(1, this.points.length);
    this.shrunk = Math.max(SMALLEST, Math.min(1, Math.sqrt(room / ROOM)));
    const parts = searches.map((search) => this.cloud(search));
    for (const search of searches) {
      if (this.hidden.has(`search ${search.name}`)) continue;
      const { uniform, front } = search.axes[this.axis];
      if (!this.hidden.has("uniform")) parts.push(this.path(uniform, "uniform-line", search));
      if (!this.hidden.has("front")) parts.push(this.path(front, "front-line", search));
    }
    for (const point of this.points) {
      parts.push(this.mark(point));
      this.grid.add(point);
      this.places.get(point.search)[point.i] = point;
    }
    for (const search of searches) parts.push(this.extras(search));
    return parts.join("");
  }

  size(group) {
    return GROUPS[group].size * (GROUPS[group].faint ? this.shrunk : 1);
  }

  mark({ search, i, group, x, y }) {
    const [px, py] = [+x.toFixed(1), +y.toFixed(1)];
    const r = +this.size(group).toFixed(1);
    const { hollow, faint } = GROUPS[group];
    const colour = colourOf(search, i);
    const under = !this.zoom && search.trials.accuracy[i] < this.view[2];
    this.beyond.under ||= under;
    this.beyond.right ||= !this.zoom && costOf(search, i, this.axis) > this.view[1];
    const parts = [markOf(group, colour, under ? triangle(px, py, r) : shape(group, px, py, r))];
    if (!faint && !hollow) parts.push(inscribed(px, py, letterOf(search, i), colour));
    if (search.mixed && backboneOf(search, i).dims === 3) {
      parts.push(`<path d="${whiskers(px, py, r)}" class="whiskers${faint ? " faint" : ""}"/>`);
    }
    return parts.join("");
  }

  corners(corners) {
    return corners.map(([cost, accuracy]) => [this.scale.x(cost), this.scale.y(100 * accuracy)]);
  }

  path(corners, kind, search) {
    if (!corners.length) return "";
    const points = this.corners(corners).map((each) => each.map((v) => v.toFixed(1)).join(" "));
    const dash = several && kind === "front-line" ? `;stroke-dasharray:${dashOf(search)}` : "";
    const tint = several ? ` style="stroke:${search.colour}${dash}"` : "";
    return `<path class="${kind}"${tint} d="M${points.join("L")}"/>`;
  }

  cloud(search) {
    const cloud = search.cloud?.[this.axis];
    if (!cloud || this.hidden.has("cloud") || this.hidden.has(`search ${search.name}`)) return "";
    return cloud.points
      .map(([cost, accuracy, colour, lines]) => {
        const [x, y] = [this.scale.x(cost), this.scale.y(100 * accuracy)];
        if (this.zoom && !this.inside(x, y)) return "";
        this.dots.add({ lines, x, y });
        const paint = `fill="${search.colour ?? colour}" class="dot"`;
        return `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="2.4" ${paint}/>`;
      })
      .join("");
  }

  /** Bars of fresh seeds, stars of full trainings, and the rings of the best and of what is slower than plain. */
  extras(search) {
    const { trials } = search;
    const at = this.places.get(search);
    const parts = [];
    const each = (table, work) => {
      for (const [key, value] of Object.entries(table)) {
        if (at[key]) work(at[key], value, +at[key].x.toFixed(1), +at[key].y.toFixed(1));
      }
    };
    if (!this.hidden.has("bars")) {
      each(trials.seeds, (_, [mean, sd], x, y) => {
        if (sd === null) return; // one seed alone has no spread
        const ends = [mean + sd, mean, mean - sd];
        const [top, middle, end] = ends.map((v) => +this.scale.y(100 * v).toFixed(1));
        const bar = `M${x} ${top}V${end}M${x - 4} ${top}h8M${x - 4} ${end}h8M${x - 7} ${middle}h14`;
        parts.push(`<path class="tie" d="M${x} ${y}V${middle}"/><path class="bar-line" d="${bar}"/>`);
        this.taken.push({ left: x - 8, right: x + 8, top: top - 2, bottom: end + 2, weight: WEIGHTS.mark });
      });
    }
    if (!this.hidden.has("full")) {
      each(trials.full, (point, rows, x, y) => {
        for (const [scale, , accuracy] of rows) {
          if (scale !== "proxy") parts.push(this.star(point, x, y, +this.scale.y(100 * accuracy).toFixed(1)));
        }
      });
    }
    const ring = (i, r, kind) => {
      if (!at[i]) return;
      const [x, y] = [at[i].x, at[i].y].map((v) => v.toFixed(1));
      parts.push(`<circle class="${kind}" cx="${x}" cy="${y}" r="${r}"/>`);
    };
    if (!this.hidden.has("slower")) trials.slower.forEach((i) => ring(i, 11, "slow"));
    const { best } = search.axes[this.axis];
    if (best !== null) ring(best, 14, "best");
    return parts.join("");
  }

  /** A full training's star above or below its trial; one beyond the picture stands at the edge, with an arrow. */
  star({ search, i }, x, y, level) {
    const { top, bottom } = this.box;
    const there = Math.max(top + 8, Math.min(bottom - 8, level));
    const way = level < top ? -1 : level > bottom ? 1 : 0;
    this.beyond.stars ||= way !== 0;
    this.taken.push({ ...around(x, there, 9), weight: WEIGHTS.mark });
    const arrow = way ? `<path class="arrow" d="M${x + 10} ${there - 4 * way}h8l-4 ${8 * way}Z"/>` : "";
    const tie = `<path class="tie" d="M${x} ${y}V${there}"/>`;
    return `${tie}<path class="star" d="${star(x, there, 8)}" stroke="${colourOf(search, i)}"/>${arrow}`;
  }

  /** Each budget's line and its words; searches of one budget share both. */
  drawBudgets(svg) {
    const { left, right, top, bottom } = this.box;
    const notes = new Map();
    for (const search of searches) {
      const { budget, note } = search.axes[this.axis];
      const key = `${budget} ${note}`;
      const owners = [...(notes.get(key)?.owners ?? []), letter(searches.indexOf(search))];
      notes.set(key, { budget, note, owners });
    }
    let y = bottom - 8;
    for (const { budget, note, owners } of notes.values()) {
      const x = budget === null ? right : this.scale.x(budget);
      if (x <= left || x > right + 1) continue;
      if (budget !== null) {
        const beyond = { class: "over", x, y: top, width: right - x, height: bottom - top };
        if (notes.size === 1) svg.append(draw("rect", beyond));
        svg.append(line(x, top, x, bottom, "budget"));
      }
      const words = notes.size > 1 && note ? `${owners.join(", ")}: ${note}` : note;
      const before = budget === null || x + 90 > this.width;
      for (const text of words.split("\n").reverse()) {
        const from = before ? x - 6 : x + 6;
        svg.append(letters(from, y, text, before ? "end" : "start", "muted halo"));
        const wide = 7 * text.length;
        const start = before ? from - wide : from;
        this.taken.push({ left: start, right: start + wide, top: y - 12, bottom: y + 3, weight: WEIGHTS.name });
        y -= 15;
      }
    }
  }

  /** How much one seed's accuracy varies, where that was measured: a bar as long as one deviation to each side. */
  drawNoise(svg) {
    const noise = several ? null : searches[0].noise;
    if (!noise) return;
    const tall = this.scale.y(0) - this.scale.y(noise);
    const [x, y] = [this.box.left + 14, this.box.top + Math.max(16, tall + 6)];
    const ends = `M${x} ${y - tall}V${y + tall}M${x - 4} ${y - tall}h8M${x - 4} ${y + tall}h8`;
    const text = `seed noise: ± ${noise.toFixed(2)} points (1 s.d.)`;
    svg.append(draw("path", { class: "bar-line noise", d: ends }));
    svg.append(letters(x + 12, y + 4, text, "start", "muted halo"));
    const right = x + 16 + 7 * text.length;
    this.taken.push({ left: x - 6, right, top: y - 10, bottom: y + 8, weight: WEIGHTS.name });
  }

  /** The names of the best and of the yardsticks; of several searches that of each best. */
  drawNames(svg) {
    const names = [];
    for (const search of searches) {
      const { best, labels } = search.axes[this.axis];
      for (const [i, text] of labels) {
        const point = this.places.get(search)[i];
        if (!point || (several && i !== best)) continue;
        names.push({ text, x: point.x, y: point.y, r: i === best ? 14 : this.size(point.group), bold: i === best });
      }
    }
    const { taken } = this;
    for (const { x, y, group } of this.points) {
      const weight = GROUPS[group].faint ? WEIGHTS.faint : WEIGHTS.mark;
      taken.push({ ...around(x, y, this.size(group) + CLEAR), weight });
    }
    for (const search of searches) {
      const { budget, uniform, front } = search.axes[this.axis];
      for (const corners of [uniform, front]) taken.push(...strokeBoxes(this.corners(corners)));
      const x = budget === null ? null : this.scale.x(budget);
      if (x !== null) taken.push(...strokeBoxes([[x, this.box.top], [x, this.box.bottom]]));
    }
    for (const name of placeNames(names, taken, this.box)) svg.append(...drawName(name));
  }

  told(point) {
    const r = point.search ? this.size(point.group) + 5 : 5;
    const lines = point.lines ?? trialLines(point.search, point.i, this.axis);
    return { lines, about: around(point.x, point.y, r), round: true };
  }

  /** Points at a trial from elsewhere, or at none; whether its mark can be seen. */
  point(at) {
    const point = (at && this.places.get(at.search)[at.i]) ?? null;
    const level = this.root.getBoundingClientRect().top + (point?.y ?? 0);
    const seen = point !== null && level > 0 && level < innerHeight;
    if (seen) this.glass.show(point);
    else this.glass.mark(point);
    return seen;
  }

  zoomTo([x1, y1], [x2, y2]) {
    const { scale, box } = this;
    const within = (value, low, high) => Math.max(low, Math.min(value, high));
    const sorted = (one, other) => [one, other].sort((a, b) => a - b);
    const [left, right] = sorted(x1, x2).map((x) => scale.fromX(within(x, box.left, box.right)));
    const [high, low] = sorted(y1, y2).map((y) => scale.fromY(within(y, box.top, box.bottom)) / 100);
    if (left < right && low < high) this.setZoom([left, right, low, high]);
  }

  setZoom(range) {
    this.zoom = range;
    document.getElementById("reset").hidden = !range;
    this.draw();
  }
}
