// Drawing by hand: elements, ticks, numbers. Text always goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** Gives an element its attributes, its `text` and its children. */
function dress(made, what, children) {
  for (const [key, value] of Object.entries(what)) {
    if (key === "text") made.textContent = value;
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** An element of the page; `what` holds attributes, and `text` its text. */
function make(tag, what = {}, ...children) {
  return dress(document.createElement(tag), what, children);
}

/** The same of a drawing. */
function draw(tag, what = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), what, children);
}

function line(x1, y1, x2, y2, kind) {
  return draw("line", { x1, y1, x2, y2, class: kind });
}

/** Letters that end, begin or are centred at x. */
function letters(x, y, text, anchor = "middle", kind = null) {
  return draw("text", { x, y, "text-anchor": anchor, class: kind, text });
}

/** An empty drawing of a width and height in px; the glass over it speaks for it to those who do not see it. */
function canvas(width, height) {
  return draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
}

let clips = 0;

/** A group of which only what is inside a box is seen. */
function clipped(svg, { left, right, top, bottom }) {
  clips += 1;
  const id = `clip-${clips}`;
  const inside = draw("rect", { x: left, y: top, width: right - left, height: bottom - top });
  const group = draw("g", { "clip-path": `url(#${id})` });
  svg.append(draw("clipPath", { id }, inside), group);
  return group;
}

/** Round numbers from low to high, about `count` of them; of things that are counted no halves. */
function ticks(low, high, count, { whole = false } = {}) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const rough = Math.max(span / Math.max(1, count), whole ? 1 : 0);
  const power = 10 ** Math.floor(Math.log10(rough));
  const steps = [1, 2, 2.5, 5, 10].map((each) => each * power);
  const step = steps.find((each) => each >= rough && (!whole || Number.isInteger(each)));
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9 * span; at += 1) found.push(at * step);
  return found;
}

/** As many digits as tell the ticks of an axis apart. */
function digits(values) {
  const step = values.length > 1 ? values[1] - values[0] : Math.abs(values[0]) || 1;
  for (let count = 0; count < 8; count += 1) {
    if (Math.abs(step - Number(step.toFixed(count))) < 1e-6 * step) return count;
  }
  return 8;
}

/** The axis at the bottom of a box: its ticks, and its name below them. */
function bottomAxis(into, box, scale, xs, name) {
  for (const value of xs) {
    const x = scale.x(value);
    into.append(line(x, box.bottom, x, box.bottom + 5, "axis"));
    into.append(letters(x, box.bottom + 19, value.toFixed(digits(xs))));
  }
  into.append(line(box.left, box.bottom, box.right, box.bottom, "axis"));
  into.append(letters((box.left + box.right) / 2, box.bottom + 38, name));
}

/** The axis at the left of a box, with lines across; its name stands above it, where it needs no turned head. */
function leftAxis(into, box, scale, ys, name) {
  for (const value of ys) {
    const y = scale.y(value);
    into.append(line(box.left, y, box.right, y, "grid"));
    into.append(letters(box.left - 8, y + 4, value.toFixed(digits(ys)), "end"));
  }
  into.append(line(box.left, box.top, box.left, box.bottom, "axis"));
  into.append(letters(0, box.top - 12, name, "start"));
}

/** From a range [left, right, low, high] to px inside a box. */
function scaled(box, range) {
  const [left, right, low, high] = range;
  const wide = right - left || 1;
  const tall = high - low || 1;
  return {
    range,
    x: (value) => box.left + ((value - left) / wide) * (box.right - box.left),
    y: (value) => box.bottom - ((value - low) / tall) * (box.bottom - box.top),
    fromX: (px) => left + ((px - box.left) / (box.right - box.left)) * wide,
    fromY: (px) => low + ((box.bottom - px) / (box.bottom - box.top)) * tall,
  };
}

/** What colours and hatches mean: [kind, words, height as a share]. */
function swatches(entries) {
  const keys = entries.map(([kind, text, share = 1]) => {
    const svg = draw("svg", { width: 16, height: 14, "aria-hidden": "true" });
    if (kind === "stroke") svg.append(draw("path", { class: kind, d: "M0 7H16" }));
    else svg.append(draw("rect", { class: kind, x: 1, y: 1 + 12 * (1 - share), width: 14, height: 12 * share }));
    return make("span", { class: "key" }, svg, make("span", { text }));
  });
  return make("div", { class: "legend" }, ...keys);
}
