// The page put together: what points at a trial in one place shows it in the others.

function axisSwitch(chart, changed) {
  const root = document.getElementById("axis");
  const common = ["gflops", "latency"].filter((each) => searches.every((search) => search.axes[each]));
  if (!searches.every((each) => each.axes[chart.axis])) chart.axis = common[0];
  if (common.length < 2) return;
  root.hidden = false;
  for (const each of common) {
    const box = make("input", { type: "radio", name: "axis", value: each });
    box.checked = each === chart.axis;
    box.addEventListener("change", () => {
      chart.axis = each;
      chart.setZoom(null);
      changed();
    });
    root.append(make("label", {}, box, ` ${each === "gflops" ? "GFLOPs" : "latency (ms)"}`));
  }
}

function themeSwitch() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const told = () => {
    document.documentElement.classList.toggle("dark", isDark());
    button.textContent = isDark() ? "Light" : "Dark";
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    told();
  });
  system.addEventListener("change", told);
  told();
}

/** Whose the figures are, and what lies beyond the picture. */
function about(chart) {
  const { objective } = searches[0];
  const { right, under, stars } = chart.beyond;
  const edges = [
    ...(right ? ["crosses at the right edge"] : []),
    ...(under ? ["triangles at the lower edge"] : []),
    ...(stars ? ["stars with an arrow"] : []),
  ].join(" and ");
  const sentences = [
    [...new Set(searches.map((each) => raised(each.units)))].join(" | "),
    "Drag over the picture to look closer",
    ...(edges ? [`${edges[0].toUpperCase()}${edges.slice(1)} lie beyond it`] : []),
  ];
  if (chart.axis !== objective) {
    const weighed = objective === "gflops" ? "GFLOPs" : "latency";
    sentences.push(`The search weighed ${weighed}; this front is found anew by the other cost`);
  }
  document.getElementById("about").textContent = `${sentences.join(". ")}.`;
}

function drawRest() {
  table = new Table({ onHover: (at) => chart.point(at), onOpen: open });
  const first = searches.find((each) => each.axes[each.objective].best !== null);
  if (first) {
    const at = { search: first, i: first.axes[first.objective].best };
    panel.open(at);
    table.mark(at);
  }
  const any = (has) => searches.some(has);
  const none = !any((each) => each.trials.id.length);
  for (const id of ["architecture", "table"]) document.getElementById(id).hidden = none;
  if (any((each) => each.wanted.length)) figure("wanted", wantedFigure);
  if (any((each) => each.volume.points.length)) figure("volume", volumeFigure);
  if (any((each) => each.survival.length)) figure("survival", survivalFigure);
  if (any((each) => each.work.end > 0)) figure("workers", (width) => workersFigure(width, open));
  performance.mark("octnas-ready");
}

const panel = new Panel();
let table = null;
const open = (at, opener) => {
  panel.open(at, opener ?? chart.glass.surface);
  table?.mark(at); // null while the table is still being read
};
const chart = new Chart(document.getElementById("chart"), { onOpen: open, onDrawn: about });
axisSwitch(chart, () => legend(chart));
themeSwitch();
chart.draw();
legend(chart);
performance.mark("octnas-front");
document.getElementById("reset").addEventListener("click", () => chart.setZoom(null));
const made = document.querySelector("#made time");
made.textContent = new Date(made.dateTime).toLocaleString();
const under = searches.some((each) => each.trials.state.some((state) => underWay(data.states[state])));
if (under) {
  document.getElementById("made").append(" The search is under way: load the page again for what came since.");
}

// The front is drawn before the table of all trials is even read; the rest once that is there.
document.addEventListener("DOMContentLoaded", drawRest);
