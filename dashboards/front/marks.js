// The marks of the front: one shape a group, so that no colour is needed to tell them apart.

const GROUPS = [
  { key: "front", name: "front", size: 8.5 },
  { key: "dominated", name: "dominated", size: 4.5, faint: true },
  { key: "early", name: "stopped early", size: 4, faint: true, hollow: true },
  { key: "uniform", name: "uniform alpha, pooled", size: 8 },
  { key: "plain", name: "plain network", size: 7 },
  { key: "over", name: "over budget", size: 7, hollow: true },
];
/** In the order in which they are drawn: the faint first. */
const ORDER = [2, 1, 5, 4, 3, 0];

/** The legend's name of a group on an axis; of early trials it depends on what they are. */
function groupName(group, axis) {
  const { key, name } = GROUPS[group];
  if (key !== "early" || !axis) return name;
  const names = searches.map((each) => each.axes[axis].early);
  return names.every((each) => each === names[0]) ? names[0] : "stopped or under way";
}

function shape(group, x, y, r) {
  switch (GROUPS[group].key) {
    case "uniform":
      return `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}Z`;
    case "plain":
      return `M${x - r} ${y - r}H${x + r}V${y + r}H${x - r}Z`;
    case "over":
      return `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`;
    default:
      return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
  }
}

function triangle(x, y, r) {
  return `M${x - r} ${y - r}H${x + r}L${x} ${y + r}Z`;
}

function star(x, y, r) {
  const points = [];
  for (let corner = 0; corner < 10; corner += 1) {
    const angle = (Math.PI * corner) / 5 - Math.PI / 2;
    const reach = corner % 2 ? 0.45 * r : r;
    points.push(`${(x + reach * Math.cos(angle)).toFixed(1)} ${(y + reach * Math.sin(angle)).toFixed(1)}`);
  }
  return `M${points.join("L")}Z`;
}

/** Four strokes around a mark, which leave what stands inside it. */
function whiskers(x, y, r) {
  const [from, to] = [r - 1, r + 5];
  return [
    `M${x - to} ${y}H${x - from}M${x + from} ${y}H${x + to}`,
    `M${x} ${y - to}V${y - from}M${x} ${y + from}V${y + to}`,
  ].join("");
}

/** The letter that stands for a backbone, or for a search among several, inside its marks. */
function letter(index) {
  return String.fromCharCode(65 + (index % 26));
}

function letterOf(search, i) {
  if (several) return letter(searches.indexOf(search));
  return search.backbones.length > 1 ? letter(search.trials.backbone[i]) : "";
}

function colourOf(search, i) {
  return search.colour ?? backboneOf(search, i).colour;
}

/** A letter on a disc of a colour "#rrggbb", black or white, whichever is read better there. */
function inscribed(x, y, text, colour) {
  const linear = [1, 3, 5].map((at) => (parseInt(colour.slice(at, at + 2), 16) / 255) ** 2.2);
  const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  const ink = light > 0.179 ? "#000" : "#fff";
  return `<text x="${x}" y="${y + 4}" text-anchor="middle" class="letter" fill="${ink}">${text}</text>`;
}

/** How a search's lines are broken where there are several, so that no colour is needed to tell them apart. */
function dashOf(search) {
  return ["none", "16 4", "16 4 3 4"][searches.indexOf(search) % 3];
}

/** A mark of a group as markup: numbers, and colours that octnas chose. */
function markOf(group, colour, path) {
  const { hollow, faint } = GROUPS[group];
  const paint = hollow ? `fill="none" stroke="${colour}" stroke-width="1.8"` : `fill="${colour}"`;
  return `<path d="${path}" ${paint} class="${hollow ? "" : "mark "}${faint ? "faint" : ""}"/>`;
}
