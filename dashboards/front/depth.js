// Two pictures over one another along the layers of a network: shares of channels above, GFLOPs below.

const DEPTH = { left: 46, right: 10, top: 38, gap: 34, foot: 30 };

/**
 * A picture with a column for each layer.
 *
 * @param layers with a `stage` each
 * @param what names of the picture and of its parts, their heights in px, the `range` of the lower part,
 *   `bars(layer)`: [upper or lower, kind, from, to] each, and `lines(layer)`: what is said of it
 */
function layersPicture(width, layers, { label, names, tall, range, below, bars, lines }) {
  const [share, cost] = tall;
  const bottom = DEPTH.top + share;
  const floor = bottom + DEPTH.gap + cost;
  const svg = canvas(width, floor + DEPTH.foot);
  const [left, right] = [DEPTH.left, width - DEPTH.right];
  const [least, most] = range;
  const heights = {
    upper: (value) => bottom - value * share,
    lower: (value) => floor - ((value - least) / (most - least)) * cost,
  };
  const grid = { upper: [0, 0.25, 0.5, 0.75, 1], lower: ticks(least, most, 3) };
  for (const [part, values] of Object.entries(grid)) {
    for (const value of values) {
      const y = heights[part](value);
      svg.append(line(left, y, right, y, "grid"), letters(left - 8, y + 4, String(+value.toPrecision(2)), "end"));
    }
  }
  const step = (right - left) / layers.length;
  const wide = Math.max(1, step - Math.min(3, step / 4));
  const points = layers.map((layer, place) => {
    const x = left + place * step + (step - wide) / 2;
    for (const [part, kind, ...ends] of bars(layer)) svg.append(...bar(kind, x, wide, ...ends.map(heights[part])));
    const about = { left: x - 1, right: x + wide + 1, top: DEPTH.top, bottom: floor };
    return { x, y: place, about, lines: () => lines(layer) };
  });
  stageMarks(svg, layers, left, step, floor);
  svg.append(letters(0, 12, names[0], "start"), letters(0, bottom + DEPTH.gap - 12, names[1], "start"));
  svg.append(letters((left + right) / 2, floor + 20, below));
  return pointed(svg, points, label, (x) => points[Math.floor((x - left) / step)] ?? null);
}

/** A bar between two heights; a stroke across where it has none. */
function bar(kind, x, width, from, to) {
  if (kind === "stroke") return [draw("path", { class: kind, d: `M${x - 1} ${to}h${width + 2}` })];
  const height = Math.abs(to - from);
  return height > 0 ? [draw("rect", { class: kind, x, y: Math.min(from, to), width, height })] : [];
}

/** A line before each stage, and its number above. */
function stageMarks(svg, layers, left, step, floor) {
  let begin = 0;
  for (let place = 1; place <= layers.length; place += 1) {
    if (place < layers.length && layers[place].stage === layers[begin].stage) continue;
    const { stage } = layers[begin];
    if (begin) svg.append(line(left + begin * step, DEPTH.top - 16, left + begin * step, floor, "stage"));
    const room = (place - begin) * step;
    const short = stage ? String(stage) : room > 34 ? "stem" : "";
    const text = stage && room > 52 ? `stage ${stage}` : short;
    if (room > 7 * text.length) svg.append(letters(left + ((begin + place) / 2) * step, DEPTH.top - 8, text));
    begin = place;
  }
}
