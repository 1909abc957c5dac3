// One trial opened: its figures, its alpha layer by layer as a picture, its run, and the commands to copy.

class Panel {
  constructor() {
    this.root = document.getElementById("architecture");
    this.head = document.getElementById("architecture-head");
    this.body = document.getElementById("architecture-body");
    this.at = null;
    this.opener = null;
    new ResizeObserver(() => {
      if (this.at && this.body.clientWidth !== this.width) this.fill();
    }).observe(this.body);
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.opener?.isConnected) this.opener.focus();
    });
  }

  /** Opens a trial; `opener` gets the focus back. */
  open(at, opener) {
    this.at = at;
    this.opener = opener ?? null;
    this.fill();
    if (!opener) return;
    this.root.scrollIntoView({ block: "nearest" });
    this.root.focus({ preventScroll: true });
  }

  fill() {
    const { search, i } = this.at;
    const { trials } = search;
    this.width = this.body.clientWidth;
    const name = label(search, i);
    const best = search.axes[search.objective].best === i ? ", the best" : "";
    this.head.textContent = `${name[0].toUpperCase()}${name.slice(1)}${best}`;
    const backbone = backboneOf(search, i);
    const facts = [
      ["accuracy " + search.proxy, percent(trials.accuracy[i])],
      ...(trials.seeds[i] ? [["fresh seeds", trials.seeds[i][3]]] : []),
      ["of the target network", `${costWords(search, i)} at ${backbone.input}`],
      ["parameters", `${(trials.params[i] / 1e6).toFixed(2)} M`],
      ["backbone", `${backbone.label}, ${trials.downsample[i] ?? "pooled"}`],
      ["what", whatWords(search, i, search.objective)],
      ["training", `${duration(trials.seconds[i])}, ${counted(trials.epochs[i], "validation")}`],
      ...(trials.shared[i] === undefined ? [] : [["on shared weights", percent(trials.shared[i])]]),
      ...(trials.full[i] ?? []).map(([scale, epochs, accuracy, test]) => [
        `octnas train, ${scale}, ${counted(epochs, "epoch")}`,
        percent(accuracy) + (test === null ? "" : `, ${percent(test)} on test data`),
      ]),
    ];
    const list = make("dl", { class: "facts" });
    for (const [name, value] of facts) {
      list.append(make("div", {}, make("dt", { text: name }), make("dd", { text: value })));
    }
    const layers = layersOf(search, i);
    this.body.replaceChildren(list, depthPicture(layers, this.width, name), depthKey(layers));
    this.body.append(depthTable(layers), ...runLink(search, i), ...commands(search, i));
  }
}

/** Each layer's high and low share along the depth, and below it the layer's GFLOPs. */
function depthPicture(layers, width, name) {
  const octaves = layers.filter((each) => each.low > 0).length;
  return layersPicture(width, layers, {
    label: `Alpha layer by layer of ${name}: ${octaves} of ${layers.length} convolutions have an octave.`,
    names: ["share of channels", "GFLOPs"],
    tall: [150, 90],
    range: [0, Math.max(...layers.map((each) => Math.max(each.plain, each.gflops))) || 1],
    below: "convolutions in the order of the network",
    lines: layerLines,
    bars: ({ alpha, searched, gflops, plain }) => [
      ["upper", searched ? "high" : "stem", alpha, 1],
      ["upper", "low", 0, alpha],
      ["lower", "spared", 0, plain],
      ["lower", "cost", 0, gflops],
      ...(gflops > plain ? [["lower", "stroke", plain, plain]] : []),
    ],
  });
}

function layerLines(layer) {
  const share = layer.searched ? `alpha ${+layer.alpha.toFixed(3)}: ` : "not searched: ";
  return [
    layer.name,
    `stage ${layer.stage}, ${layer.channels} channels`,
    `${share}${layer.channels - layer.low} high, ${layer.low} low`,
    `${small(layer.gflops)} GFLOPs, plain ${small(layer.plain)}`,
  ];
}

function depthKey(layers) {
  return swatches([
    ["high", "high resolution"],
    ["low", "low: half the resolution (alpha)"],
    ...(layers.every((each) => each.searched) ? [] : [["stem", "not searched"]]),
    ["cost", "GFLOPs of the layer"],
    ["spared", "of the plain layer"],
  ]);
}

/** The same for those who read. */
function depthTable(layers) {
  const table = make("table", { class: "layers" });
  const heads = ["convolution", "stage", "channels", "low", "alpha", "GFLOPs", "plain GFLOPs"];
  table.append(make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col", text })))));
  const rows = layers.map((layer) => {
    const cells = [layer.stage, layer.channels, layer.low, layer.searched ? +layer.alpha.toFixed(4) : "–"];
    cells.push(small(layer.gflops), small(layer.plain));
    return make("tr", {}, make("th", { scope: "row", text: layer.name }), ...cells.map((text) => make("td", { text })));
  });
  table.append(make("tbody", {}, ...rows));
  const summary = make("summary", { text: "Layer by layer in figures" });
  return make("details", {}, summary, make("div", { class: "wide" }, table));
}

function runLink(search, i) {
  const page = search.links?.trials[i] ?? search.links?.search;
  if (!page) return [];
  const what = search.links.trials[i] ? "Run in MLflow" : "The search's run in MLflow";
  const whole = address(page);
  if (whole === null) return [command(`octnas dashboard ${search.name}`, `${what}, once this runs:`)];
  if (framed) return [command(whole, `${what}: copy its address`)];
  return [make("p", {}, make("a", { href: whole, target: "_blank", rel: "noopener", text: what }))];
}

function commands(search, i) {
  const id = search.trials.id[i];
  const kept = search.axes[search.objective].members.includes(i) || search.trials.full[i];
  const train = `octnas train ${search.name} --trial ${id}`;
  const why = kept ? "" : " (weights are kept of the front alone, so this comes before an export)";
  return [
    command(train, `Train it in full${why}:`),
    command(`octnas export ${search.name} --trial ${id} --to ${search.name}-${id}`, "Export the model:"),
  ];
}

/** A line to copy. Where the clipboard is closed to the page, the text is selected for Ctrl-C. */
function command(text, what) {
  const code = make("code", { text, tabindex: "0" });
  const button = make("button", { type: "button", text: "Copy", "aria-label": `Copy ${text}` });
  button.addEventListener("click", async () => {
    button.textContent = (await copied(text, code)) ? "Copied" : "Press Ctrl-C";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  const row = make("div", { class: "command" }, code, button);
  return make("div", {}, make("div", { class: "muted small", text: what }), row);
}

async function copied(text, code) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const range = document.createRange();
    range.selectNodeContents(code);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    return document.execCommand("copy");
  }
}
