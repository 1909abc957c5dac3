// Wall-clock by worker: a row for each, a bar for each stretch of training.

const MOST_LANES = 40;
const ROW = 18;
/** How an ending is drawn: its colour, and its height as a share, so that no colour is needed to tell them apart. */
const ENDINGS = {
  complete: ["high", 1],
  stopped: ["low", 0.6],
  failed: ["low", 0.6],
  paused: ["stem", 0.35],
  interrupted: ["stem", 0.35],
};
const CONFIRMS = ["ink", 1];
const UNDER_WAY = ["stem", 0.35];

function workersFigure(width, open) {
  const drawn = searches.filter((each) => each.work.end > 0);
  const key = swatches([
    ["high", "complete"],
    ["ink", "trained again with a fresh seed"],
    ["low", "stopped or failed", 0.6],
    ["stem", "paused at a rung, cut off or under way", 0.35],
  ]);
  return [...drawn.flatMap((search) => headed(search, ...workersOf(search, width, open))), key];
}

function workersOf(search, width, open) {
  const workers = new Map();
  for (const [lane, worker] of search.spans) workers.set(lane, workers.get(lane) ?? worker);
  const lanes = [...workers.keys()].sort((one, other) => one - other).slice(0, MOST_LANES);
  // Of a search with more trials than the page holds, `spans` are those of the drawn ones, `work` is of all.
  const { end, busy, workers: count, at_once: most } = search.work;
  const [unit, words] = end > 10_800 ? [3600, "hours"] : end > 300 ? [60, "minutes"] : [1, "seconds"];
  const top = 6;
  const bottom = top + ROW * lanes.length;
  const names = lanes.map((lane) => workers.get(lane) ?? "worker not known");
  const left = Math.min(0.35 * width, 20 + 6.6 * Math.max(...names.map((each) => each.length)));
  const box = { left, right: width - 14, top, bottom };
  const scale = scaled(box, [0, end / unit, 0, 1]);
  const title = `Which worker${several ? ` of ${search.name}` : ""} trained which trial, and when.`;
  const svg = canvas(width, bottom + 46);
  const xs = ticks(0, end / unit, Math.min(8, width / 80));
  for (const value of xs) svg.append(line(scale.x(value), top, scale.x(value), bottom, "grid"));
  bottomAxis(svg, box, scale, xs, `${words} since the search began`);
  const room = Math.floor((left - 16) / 6.6);
  names.forEach((name, row) => {
    const text = name.length > room ? `…${name.slice(1 - room)}` : name;
    svg.append(letters(left - 8, top + ROW * row + 13, text, "end"));
  });
  const rows = new Map(lanes.map((lane, row) => [lane, row]));
  const bars = [];
  const points = lanes.map(() => []);
  for (const [lane, , trial, start, stop, ending, confirming] of search.spans) {
    const seconds = (stop ?? end) - start;
    const row = rows.get(lane);
    if (row === undefined) continue;
    const [kind, share] = confirming ? CONFIRMS : (ENDINGS[ending] ?? UNDER_WAY);
    const x = scale.x(start / unit);
    const wide = Math.max(1, scale.x((start + seconds) / unit) - x - 0.5);
    const y = top + ROW * row + 2;
    const tall = share * (ROW - 4);
    const place = `x="${x.toFixed(1)}" y="${y + ROW - 4 - tall}"`;
    bars.push(`<rect class="${kind}" ${place} width="${wide.toFixed(1)}" height="${tall}"/>`);
    const about = { left: x - 1, right: x + wide + 1, top: y - 1, bottom: y + ROW - 3 };
    const what = confirming ? "confirms with a fresh seed" : (ending ?? "under way");
    const name = trial === null ? "a trial" : label(search, trial);
    const lines = () => [name, what, `${duration(seconds)}, from ${duration(start)}`];
    points[row].push({ x, y, about, lines, ...(trial === null ? {} : { search, i: trial }) });
  }
  const group = draw("g");
  group.innerHTML = bars.join("");
  svg.append(group);
  const find = (x, y) => {
    const row = points[Math.floor((y - top) / ROW)] ?? [];
    return row.findLast(({ about }) => x >= about.left && x <= about.right) ?? null;
  };
  const share = `${Math.min(100, (100 * busy) / (end * most)).toFixed(0)} %`;
  // One that was lost, or ended where others began to confirm, is no place that stood idle.
  const trained =
    most === count
      ? `${counted(count, "worker")} trained for ${share} of the time from first to last.`
      : `${count} workers, at most ${most} at once, trained for ${share} of the time that ${most} have from first to last.`;
  const more = count > MOST_LANES ? ` The first ${MOST_LANES} are drawn.` : "";
  return [
    pointed(svg, points.flat(), title, find, open),
    note(`${trained}${more}`),
  ];
}
