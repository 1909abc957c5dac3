// What is said of a trial, and where it is found.

const data = JSON.parse(document.getElementById("data").textContent);
const searches = data.searches;
const several = searches.length > 1;

/** "1 validation", "3 validations". */
function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Powers as they are written by hand. */
function raised(text) {
  return text.replaceAll("10^9", "10⁹");
}

function percent(share, count = 2) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(count)} %`;
}

function milliseconds(value) {
  return value.toFixed(value >= 100 ? 1 : value >= 1 ? 2 : 3);
}

function duration(seconds) {
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return minutes ? `${minutes} min ${String(whole % 60).padStart(2, "0")} s` : `${whole} s`;
}

/** GFLOPs of a layer, which may be far below one of a network's. */
function small(gflops) {
  return gflops >= 0.01 ? gflops.toFixed(3) : gflops.toPrecision(2);
}

/** The cost of trial `i` on an axis. */
function costOf(search, i, axis) {
  return axis === "gflops" ? search.trials.gflops[i] : search.trials.latency[i];
}

function backboneOf(search, i) {
  return search.backbones[search.trials.backbone[i]];
}

function label(search, i) {
  const { trials } = search;
  const yardstick = trials.yardstick[i];
  const own = yardstick ? `${yardstick} ${backboneOf(search, i).name}` : `trial ${trials.id[i]}`;
  return several ? `${own} of ${search.name}` : own;
}

function costWords(search, i) {
  const { trials } = search;
  const ms = trials.latency?.[i];
  const gflops = `${trials.gflops[i].toFixed(3)} GFLOPs`;
  return ms === null || ms === undefined ? gflops : `${gflops}, ${milliseconds(ms)} ms`;
}

function stateOf(search, i) {
  return data.states[search.trials.state[i]];
}

function underWay(state) {
  return state === "running" || state === "paused";
}

/** What a trial is on an axis, in the words of the legend, and why it ended where it ended early. */
function whatWords(search, i, axis) {
  const { groups, members, best } = search.axes[axis];
  const state = stateOf(search, i);
  const reason = search.trials.reason[i];
  const group = GROUPS[groups[i]]?.key;
  const words = [];
  if (group === "early" || group === undefined) {
    words.push(state === "stopped" ? "stopped early" : underWay(state) ? `under way, ${state}` : state);
  } else {
    words.push(groupName(groups[i]));
    if (underWay(state)) words.push(`under way, ${state}`);
    if (group !== "front" && members.includes(i)) words.push("on the front");
    if (best === i) words.push("the best");
  }
  return words.join(", ") + (reason ? ` (${reason})` : "");
}

/** Low channels, GFLOPs and the rest of each layer of a trial. */
function layersOf(search, i) {
  const choices = search.trials.layers[i];
  return backboneOf(search, i).layers.map((layer, place) => {
    const [low, gflops] = layer.values[choices[place]];
    return { ...layer, low, gflops, alpha: low / layer.channels };
  });
}

/** "1: 0.25 0.5" for each stage; of many layers their mean. */
function stageWords(search, i) {
  const stages = new Map();
  for (const layer of layersOf(search, i)) {
    if (layer.searched) stages.set(layer.stage, [...(stages.get(layer.stage) ?? []), layer.alpha]);
  }
  return [...stages].map(([stage, alphas]) => {
    const mean = alphas.reduce((sum, each) => sum + each, 0) / alphas.length;
    const words = alphas.length > 12 ? `mean ${mean.toFixed(2)}` : alphas.map((each) => +each.toFixed(3)).join(" ");
    return `stage ${stage}: ${words}`;
  });
}

/** What a picture says of a trial under the pointer. */
function trialLines(search, i, axis) {
  const { trials } = search;
  const shared = trials.shared[i];
  return [
    label(search, i),
    whatWords(search, i, axis),
    `${percent(trials.accuracy[i])} ${search.proxy} after ${counted(trials.epochs[i], "validation")}`,
    ...(shared === undefined ? [] : [`on shared weights, before that training: ${percent(shared)}`]),
    ...(trials.seeds[i] ? [`fresh seeds: ${trials.seeds[i][3]}`] : []),
    ...(trials.full[i] ?? []).map(fullWords),
    `${costWords(search, i)}, ${backboneOf(search, i).label}`,
    ...(trials.slower.includes(i) ? ["fewer FLOPs, slower: predicted to take longer than its plain network"] : []),
    `alphas, ${trials.downsample[i] ?? "pooled"}:`,
    ...stageWords(search, i),
  ];
}

function fullWords([scale, epochs, accuracy, test]) {
  const tested = test === null ? "" : `, ${percent(test)} on test data`;
  return `trained by octnas train (${scale}, ${counted(epochs, "epoch")}): ${percent(accuracy)}${tested}`;
}

/** A page of MLflow as a whole address: of the server that shows this page where the store names none. */
function address(page) {
  if (!page || !page.startsWith("#")) return page;
  if (!framed) return null;
  const around = location.ancestorOrigins?.[0] ?? (document.referrer && new URL(document.referrer).origin);
  return around && around !== "null" && around.startsWith("http") ? `${around}/${page}` : null;
}

/** Whether the page stands in another one's frame, where links may open nothing. */
const framed = window.self !== window.top;
