// The table of trials: its buttons are there from the start; here they get sorting, a filter and arrow keys.

class Table {
  constructor({ onHover, onOpen }) {
    this.root = document.getElementById("trials");
    this.rows = [...this.root.querySelectorAll("tbody tr")];
    this.places = new Map(searches.map((search) => [search.name, new Map(search.trials.id.map((id, i) => [id, i]))]));
    this.open = null;
    const frame = document.getElementById("rows");
    const tip = new Tip(frame);
    const told = (event) => {
      const button = event.target.closest("tbody tr")?.querySelector("[data-trial]");
      if (!button) return;
      const { search, i } = this.of(button);
      // Where the picture is out of sight, what it would say is said beside the row.
      if (onHover({ search, i })) tip.hide();
      else tip.show(trialLines(search, i, chart.axis), this.around(button, frame));
    };
    const left = () => {
      tip.hide();
      onHover(null);
    };
    for (const kind of ["pointerover", "focusin"]) this.root.addEventListener(kind, told);
    for (const kind of ["pointerleave", "focusout"]) this.root.addEventListener(kind, left);
    this.root.addEventListener("click", (event) => {
      const sorter = event.target.closest("button.sort");
      const button = event.target.closest("tbody tr")?.querySelector("[data-trial]");
      if (sorter) this.sort(sorter);
      else if (button) onOpen(this.of(button), button);
    });
    this.root.addEventListener("keydown", (event) => this.key(event));
    const filter = document.getElementById("filter");
    filter.addEventListener("change", () => this.filter(filter.value));
    const past = document.getElementById("past");
    past.addEventListener("click", () => document.getElementById("trials-end").focus());
    this.count();
  }

  /** The trial of a button. */
  of(button) {
    const search = several ? searches.find((each) => each.name === button.dataset.search) : searches[0];
    return { search, i: this.places.get(search.name).get(button.dataset.trial) };
  }

  /** What of a row is seen, in px of the box around the table. */
  around(button, frame) {
    const [row, edge] = [button.closest("tr"), frame].map((each) => each.getBoundingClientRect());
    return { left: 0, right: edge.width, top: row.top - edge.top, bottom: row.bottom - edge.top };
  }

  /** Marks the row of the trial that is open. */
  mark({ search, i }) {
    this.open?.classList.remove("open");
    const owner = several ? `[data-search="${CSS.escape(search.name)}"]` : "";
    const button = this.root.querySelector(`[data-trial="${CSS.escape(search.trials.id[i])}"]${owner}`);
    this.open = button?.closest("tr") ?? null;
    this.open?.classList.add("open");
  }

  key(event) {
    const row = event.target.closest("tbody tr");
    if (!row || (event.key !== "ArrowDown" && event.key !== "ArrowUp")) return;
    const shown = this.rows.filter((each) => !each.hidden);
    const next = shown[shown.indexOf(row) + (event.key === "ArrowDown" ? 1 : -1)];
    next?.querySelector("[data-trial]").focus();
    event.preventDefault();
  }

  /** By a column: figures as figures, the rest as text; again: the other way round. What is empty stays last. */
  sort(button) {
    const head = button.closest("th");
    const column = [...head.parentNode.children].indexOf(head);
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const each of head.parentNode.children) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const figures = ["id", "gflops", "latency", "accuracy", "full", "shared", "epochs"].includes(button.dataset.sort);
    const keyed = this.rows.map((row) => {
      const text = row.cells[column].textContent.trim();
      const number = figures ? parseFloat(text) : NaN;
      return { row, text, number, empty: text === "" || text === "-" };
    });
    const sign = up ? 1 : -1;
    keyed.sort((one, other) => {
      if (one.empty || other.empty) return one.empty - other.empty;
      if (Number.isNaN(one.number) || Number.isNaN(other.number)) {
        return sign * one.text.localeCompare(other.text, undefined, { numeric: true });
      }
      return sign * (one.number - other.number);
    });
    this.rows = keyed.map((each) => each.row);
    this.arrange();
  }

  /** Rows into the table's groups, those that are shown first: the browser lays out only the groups in sight. */
  arrange() {
    const ordered = [...this.rows.filter((row) => !row.hidden), ...this.rows.filter((row) => row.hidden)];
    const groups = [...this.root.tBodies];
    const size = Math.ceil(ordered.length / groups.length);
    groups.forEach((group, place) => {
      const rows = ordered.slice(place * size, (place + 1) * size);
      group.replaceChildren(...rows);
      group.style.setProperty("--rows", rows.filter((row) => !row.hidden).length);
    });
  }

  filter(which) {
    for (const row of this.rows) {
      const { search, i } = this.of(row.querySelector("[data-trial]"));
      const state = stateOf(search, i);
      const keep = {
        all: true,
        front: row.classList.contains("front") || search.trials.yardstick[i] !== null,
        complete: state === "complete",
        stopped: state === "stopped" || state === "failed",
      };
      row.hidden = !keep[which];
    }
    this.arrange();
    this.count();
  }

  count() {
    const shown = this.rows.filter((row) => !row.hidden).length;
    document.getElementById("shown").textContent = `${shown} of ${counted(this.rows.length, "trial")}`;
  }
}
