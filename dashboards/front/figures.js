// The other pictures: hypervolume by trial, which layers want an octave, rungs survived.

/** Fills a section with what `work` gives, and shows it; drawn again when the page gets wider or narrower. */
function figure(id, work) {
  const section = document.getElementById(id);
  const body = section.querySelector(".body");
  section.hidden = false;
  let width = 0;
  new ResizeObserver(() => {
    if (body.clientWidth === width || !body.clientWidth) return;
    width = body.clientWidth;
    body.replaceChildren(...work(width));
  }).observe(section);
}

function note(text) {
  return make("p", { class: "muted small", text });
}

function headed(search, ...parts) {
  return several ? [make("h3", { text: search.name }), ...parts] : parts;
}

function volumeFigure(width) {
  const drawn = searches.filter((each) => each.volume.points.length);
  const height = 260;
  const box = { left: 56, right: width - 14, top: 30, bottom: height - 46 };
  const of = (choose, values) => choose(...drawn.map(({ volume }) => values(volume)));
  const [low, high] = [of(Math.min, (each) => each.range[0]), of(Math.max, (each) => each.range[1])];
  const count = of(Math.max, (each) => each.count);
  const scale = scaled(box, [0, 1.02 * count, low, high]);
  const name = "Hypervolume once each complete trial was there.";
  const svg = canvas(width, height);
  leftAxis(svg, box, scale, ticks(low, high, 4), "hypervolume");
  bottomAxis(svg, box, scale, ticks(0, 1.02 * count, Math.min(8, width / 80), { whole: true }), "complete trials");
  const inside = clipped(svg, box);
  const points = [];
  for (const search of drawn) {
    const { volume } = search;
    const tint = several ? `stroke:${search.colour}` : "";
    if (volume.yardsticks) {
      const y = scale.y(volume.yardsticks);
      inside.append(draw("path", { class: "uniform-line", style: tint, d: `M${box.left} ${y}H${box.right}` }));
      const owner = several ? `${letterOf(search)}: ` : "";
      const text = `${owner}yardsticks alone ${volume.yardsticks.toFixed(4)}`;
      inside.append(letters(box.right, y + 15, text, "end", "muted halo"));
    }
    let path = "";
    for (const [place, number, value] of volume.points) {
      const [x, y] = [scale.x(number), scale.y(value)];
      path += path ? `H${x.toFixed(1)}V${y.toFixed(1)}` : `M${x.toFixed(1)} ${y.toFixed(1)}`;
      const trial = place === null ? "a trial" : label(search, place);
      const lines = () => [trial, `hypervolume ${value.toFixed(4)} after ${counted(number, "complete trial")}`];
      // The first trials may lie far below the range that is worth showing.
      points.push({ x, y, about: around(x, Math.min(y, box.bottom), 5), lines });
    }
    const dash = several ? dashOf(search) : null;
    path += `H${box.right}`;
    inside.append(draw("path", { class: "stroke", style: tint, "stroke-dasharray": dash, d: path }));
    if (several) {
      const y = scale.y(volume.points.at(-1)[2]) - 6;
      svg.append(letters(box.right, y, letterOf(search), "end", "halo"));
    }
  }
  const limits = [...new Set(drawn.map((each) => each.volume.limit))].join(" or ");
  const differ = several ? " Searches of one space, one data set and one budget can be compared by it." : "";
  return [
    pointed(svg, points, name, nearestAcross(points)),
    note(
      `Share of the area below ${limits} and accuracy 1 that the front dominates, ` +
        `once each complete trial was there.${differ}`,
    ),
  ];
}

/** Finds the point whose place across is the nearest, height counting less. */
function nearestAcross(points) {
  return (x, y) => {
    let [found, least] = [null, 40];
    for (const point of points) {
      const away = Math.abs(point.x - x) + 0.3 * Math.abs(point.y - y);
      if (away < least) [found, least] = [point, away];
    }
    return found;
  };
}

function wantedFigure(width) {
  const parts = [];
  for (const search of searches) {
    for (const each of search.wanted) parts.push(...wantedOf(search, each, width));
  }
  const key = swatches([
    ["alpha", "mean alpha over the front"],
    ["stroke", "over all complete candidates"],
    ["cost", "GFLOPs that the front's alphas save against plain layers, on average"],
  ]);
  return [...parts, key];
}

/** Mean alpha of each searched convolution over the front, and the GFLOPs that it saves there. */
function wantedOf(search, wanted, width) {
  const backbone = search.backbones[wanted.backbone];
  const rows = wanted.layers.map((each) => ({ ...each, ...backbone.layers[each.layer] }));
  const whose = several ? ` of ${search.name}` : "";
  const few = wanted.members < 3 ? " Few: little can be read from them." : "";
  const members = `${counted(wanted.members, "candidate")} on the front, ${wanted.complete} complete.${few}`;
  const head = make("h3", { text: `${backbone.name}${whose}` });
  if (rows.every((row) => row.alpha === 0)) {
    return [head, note(`${members} None has an octave in any layer.`)];
  }
  const saved = rows.map((each) => each.saved);
  const picture = layersPicture(width, rows, {
    label: `Which layers of ${backbone.name}${whose} have an octave on the front, and what it saves.`,
    names: ["mean alpha", "GFLOPs saved"],
    tall: [120, 80],
    range: [Math.min(0, ...saved), Math.max(0, ...saved) || 1],
    below: `searched convolutions of ${backbone.name}`,
    bars: (row) => [
      ["upper", "alpha", 0, row.alpha],
      ["upper", "stroke", row.all, row.all],
      ["lower", "cost", 0, row.saved],
    ],
    lines: (row) => [
      row.name,
      `mean alpha ${row.alpha.toFixed(3)} on the front, ${row.all.toFixed(3)} over all complete candidates`,
      row.saved < 0
        ? `costs ${small(-row.saved)} GFLOPs more than ${small(row.plain)}`
        : `saves ${small(row.saved)} GFLOPs of ${small(row.plain)}`,
    ],
  });
  return [head, note(members), picture];
}

function survivalFigure(width) {
  const drawn = searches.filter((each) => each.survival.length);
  const key = swatches([
    ["high", "complete in the end"],
    ["low", "stopped or failed later"],
    ["stem", "under way"],
  ]);
  const text = "Candidates that were scored so often; where the bars fall is a rung.";
  return [...drawn.flatMap((search) => headed(search, survivalOf(search, width))), key, note(text)];
}

function survivalOf({ survival, name }, width) {
  const height = 220;
  const box = { left: 46, right: width - 14, top: 30, bottom: height - 46 };
  const most = survival[0].complete + survival[0].ended + survival[0].open;
  const scale = scaled(box, [0.5, survival.length + 0.5, 0, most]);
  const title = `How many candidates${several ? ` of ${name}` : ""} reached each validation.`;
  const svg = canvas(width, height);
  leftAxis(svg, box, scale, ticks(0, most, 4, { whole: true }), "candidates");
  const step = Math.ceil(survival.length / 12);
  const xs = survival.map((each) => each.epoch).filter((each) => each % step === 0);
  bottomAxis(svg, box, scale, xs, "validations of the proxy's training");
  const wide = Math.min(60, 0.7 * ((box.right - box.left) / survival.length));
  const points = survival.map(({ epoch, complete, ended, open }) => {
    const x = scale.x(epoch) - wide / 2;
    let base = 0;
    for (const [kind, count] of [["high", complete], ["stem", open], ["low", ended]]) {
      svg.append(...bar(kind, x, wide, scale.y(base), scale.y(base + count)));
      base += count;
    }
    const words = `${complete} complete in the end, ${ended} ended before, ${open} under way`;
    const about = { left: x - 1, right: x + wide + 1, top: scale.y(base) - 1, bottom: box.bottom };
    return { x: x + wide / 2, y: scale.y(base), about, lines: () => [`validation ${epoch}`, words] };
  });
  return pointed(svg, points, title, nearestAcross(points));
}
