// What the marks mean; unticking one hides it.

/** One entry: a drawing and words; with `toggle` a box to tick. */
function key(root, { id, text, path, on = true }, toggle) {
  const svg = draw("svg", { width: 24, height: 16, "aria-hidden": "true" });
  svg.innerHTML = path;
  const words = make("span", { text });
  if (!toggle) {
    root.append(make("span", { class: "key" }, svg, words));
    return;
  }
  const box = make("input", { type: "checkbox", checked: on ? "" : null });
  box.addEventListener("change", () => toggle(id, box.checked));
  root.append(make("label", {}, box, svg, words));
}

function legend(chart) {
  const root = document.getElementById("legend");
  root.replaceChildren();
  const toggle = (id, on) => {
    if (on) chart.hidden.delete(id);
    else chart.hidden.add(id);
    chart.draw();
  };
  const entry = (id, text, path) => key(root, { id, text, path, on: !chart.hidden.has(id) }, toggle);
  const grey = "var(--muted)";
  const found = new Set(searches.flatMap((each) => each.axes[chart.axis].groups));
  const lines = {
    front: '<path class="front-line" d="M0 8H24"/>',
    uniform: '<path class="uniform-line" d="M0 8H24"/>',
  };
  GROUPS.forEach((group, index) => {
    const line = group.key === "front" && searches.some((each) => each.axes[chart.axis].front.length);
    if (!found.has(index) && !line) return;
    const path = (lines[group.key] ?? "") + markOf(index, grey, shape(index, 12, 8, Math.min(6, group.size)));
    entry(group.key, groupName(index, chart.axis), path);
  });
  const bars = searches.flatMap((each) => Object.values(each.trials.seeds)).filter(([, sd]) => sd !== null);
  const seeds = bars.map(([, , count]) => count);
  if (seeds.length) {
    const [few, many] = [Math.min(...seeds), Math.max(...seeds)];
    const count = few === many ? counted(few, "fresh seed") : `${few}-${many} fresh seeds`;
    entry("bars", `mean ± 1 s.d. of ${count}`, '<path class="bar-line" d="M12 1V15M8 1h8M8 15h8M5 8h14"/>');
  }
  const trainings = searches.flatMap((each) => Object.values(each.trials.full).flat());
  if (trainings.some(([scale]) => scale !== "proxy")) {
    const path = `<path class="star" d="${star(12, 8, 7)}" stroke="${grey}"/>`;
    entry("full", "trained in full (not of the proxy)", path);
  }
  if (searches.some((each) => each.trials.slower.length)) {
    entry("slower", "fewer FLOPs, slower", '<circle class="slow" cx="12" cy="8" r="6.5"/>');
  }
  const clouds = searches.map((each) => each.cloud?.[chart.axis]).filter(Boolean);
  if (clouds.length) {
    const path = `<circle cx="12" cy="8" r="2.4" fill="${grey}" opacity=".6"/>`;
    entry("cloud", clouds.map((each) => each.name).join("; "), path);
  }
  if (searches.some((each) => each.mixed)) {
    const path = `<circle cx="12" cy="8" r="3" fill="${grey}"/><path d="${whiskers(12, 8, 3)}" class="whiskers"/>`;
    key(root, { text: "3D backbone", path });
  }
  root.append(make("span", { class: "break" }));
  colours(root, entry);
}

/** The colours: of searches where there are several, else of backbones. */
function colours(root, entry) {
  const disc = (colour, text) => `<circle cx="12" cy="8" r="7.5" fill="${colour}"/>${inscribed(12, 8, text, colour)}`;
  if (several) {
    searches.forEach((each, index) => {
      const dash = `style="stroke:${each.colour};stroke-dasharray:${dashOf(each)}"`;
      const path = `<path class="front-line" ${dash} d="M0 8H24"/>${disc(each.colour, letter(index))}`;
      entry(`search ${each.name}`, each.name, path);
    });
    return;
  }
  const { backbones } = searches[0];
  if (backbones.length === 1) {
    key(root, { text: backbones[0].label, path: disc(backbones[0].colour, "") });
    return;
  }
  backbones.forEach((each, index) => entry(`backbone ${each.name}`, each.label, disc(each.colour, letter(index))));
}
