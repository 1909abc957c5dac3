// Where the names of marks stand, so that they hide least: each takes the freest place around its mark.

const LETTERS = 12;
const FONT = `${LETTERS}px system-ui, sans-serif`;
const pen = document.createElement("canvas").getContext("2d");

/** What it costs to cover something: by the px that are covered. */
const WEIGHTS = { faint: 1, line: 3, mark: 6, name: 30, outside: 60 };
/** What it costs to stand away from the mark, where a stroke has to lead to it: by the px. */
const AWAY = 6;

const SIDES = [
  [0, -1],
  [1, 0],
  [-1, 0],
  [0, 1],
  [0.7, -0.8],
  [-0.7, -0.8],
  [0.7, 0.8],
  [-0.7, 0.8],
];
const REACHES = [4, 16, 30, 46, 66, 90];

/**
 * Finds places for names.
 *
 * @param names [{ text, x, y, r, bold }] of marks at (x, y) with a radius, the most important first
 * @param taken boxes [{ left, right, top, bottom, weight }] that should stay uncovered
 * @param frame the box that names should not leave
 * @returns the same names with the box of each, and `apart`: whether a stroke has to lead to it
 */
function placeNames(names, taken, frame) {
  const boxes = [...taken];
  return names.map((name) => {
    pen.font = `${name.bold ? "bold " : ""}${FONT}`;
    const wide = pen.measureText(name.text).width;
    let best = null;
    for (const reach of REACHES) {
      for (const [right, down] of SIDES) {
        const box = beside(name, name.r + reach, right, down, wide);
        const apart = reach > REACHES[0];
        const cost = covered(box, boxes) + WEIGHTS.outside * outside(box, frame) + (apart ? AWAY * reach : 0);
        if (!best || cost < best.cost) best = { box, apart, cost };
      }
    }
    boxes.push({ ...best.box, weight: WEIGHTS.name });
    return { ...name, box: best.box, apart: best.apart };
  });
}

function beside({ x, y }, reach, right, down, wide) {
  const tall = LETTERS + 2;
  const left = x + right * reach - (right ? (right < 0 ? wide : 0) : wide / 2);
  const top = y + down * reach - (down ? (down < 0 ? tall : 0) : tall / 2);
  return { left, right: left + wide, top, bottom: top + tall };
}

function covered(box, others) {
  let sum = 0;
  for (const other of others) {
    const wide = Math.min(box.right, other.right) - Math.max(box.left, other.left);
    if (wide <= 0) continue;
    const tall = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
    if (tall > 0) sum += wide * tall * other.weight;
  }
  return sum;
}

/** By how many px a box leaves another. */
function outside(box, frame) {
  const across = Math.max(0, frame.left - box.left) + Math.max(0, box.right - frame.right);
  return across + Math.max(0, frame.top - box.top) + Math.max(0, box.bottom - frame.bottom);
}

/** Boxes along a path of right angles, so that names keep clear of its strokes. */
function strokeBoxes(corners) {
  return corners.slice(1).map(([x, y], place) => {
    const [from, level] = corners[place];
    return {
      left: Math.min(x, from) - 2,
      right: Math.max(x, from) + 2,
      top: Math.min(y, level) - 2,
      bottom: Math.max(y, level) + 2,
      weight: WEIGHTS.line,
    };
  });
}

/** A placed name, and the stroke that leads to it where it stands apart. */
function drawName({ text, x, y, r, bold, box, apart }) {
  const parts = [];
  if (apart) {
    const [toX, toY] = [Math.max(box.left, Math.min(x, box.right)), Math.max(box.top, Math.min(y, box.bottom))];
    const away = Math.hypot(toX - x, toY - y) || 1;
    parts.push(line(x + (r * (toX - x)) / away, y + (r * (toY - y)) / away, toX, toY, "leader"));
  }
  const what = { x: box.left, y: box.bottom - 4, class: "halo name", "font-weight": bold ? "bold" : null, text };
  parts.push(draw("text", what));
  return parts;
}
