/* The table of stations: rows are made once and only what changed in them is written. */

const STATES = { live: "●", filling: "◐", gap: "▲", waiting: "○", down: "▼", stale: "■", refused: "✕" };
/* States in which nothing that could be picked comes. */
const SILENT = new Set(["down", "stale", "refused"]);
const ORDER = Object.keys(STATES).reverse();
const EARLY = -Infinity;
const COLUMNS = [
  { key: "id", title: "Station", of: (one) => one.id },
  { key: "state", title: "State", of: (one) => ORDER.indexOf(one.state) },
  { key: "delay", title: "Delay", name: "number", hint: "age of the newest sample, now", of: (one, now) => one.newest ? now - secondsOf(one.newest) : Infinity },
  { key: "latency", title: "Latency", name: "number wide latency", hint: "age of the last record's last sample when it arrived", of: (one) => one.latency_s ?? Infinity },
  { key: "gaps", title: "Gaps", name: "number", hint: "gaps since the start; those of several components at one time are one", of: (one) => one.gaps },
  { key: "pick", title: "Last pick", hint: "the last final one", of: (one) => one.last_pick ? secondsOf(one.last_pick.time) : EARLY },
  { key: "hours", title: "Picks/h", name: "number spark-cell", hint: "final picks in each of the last 24 hours, the newest at the right", of: (one) => one.hours?.reduce((sum, count) => sum + count, 0) ?? 0 },
  { key: "count", title: "Picks", name: "number wide more", hint: "final picks since the start", of: (one) => one.picks },
  { key: "reason", title: "Why no pick", name: "reason", of: (one) => one.phases.P.reason },
];

const HOURS = 24;

/* A bar for each hour. */
function spark() {
  const make = (name) => document.createElementNS("http://www.w3.org/2000/svg", name), svg = make("svg"), line = make("line");
  svg.setAttribute("viewBox", "0 0 24 8");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "spark");
  svg.setAttribute("role", "img");
  for (const [name, value] of Object.entries({ x1: 0, x2: 24, y1: 8, y2: 8 })) line.setAttribute(name, value);
  svg.append(line, make("path"));
  return svg;
}

class Stations {
  constructor(parts, now, choose) {
    Object.assign(this, parts, { now, choose });
    this.entries = new Map();
    this.text = "";
    this.state = "";
    this.sort = { key: "id", up: true };
    this.chosen = null;
    this.makeHeads();
    this.makeChips();
    this.filter.addEventListener("input", () => { this.text = this.filter.value.trim().toLowerCase(); this.arrange(); });
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row) this.choose(row.dataset.id);
    });
    this.body.addEventListener("keydown", (event) => this.move(event));
  }

  makeHeads() {
    for (const column of COLUMNS) {
      const head = element("th", column.name), button = element("button", "", column.title);
      head.scope = "col";
      if (column.hint) head.title = column.hint;
      button.addEventListener("click", () => {
        this.sort = { key: column.key, up: this.sort.key === column.key ? !this.sort.up : true };
        this.showSort();
        this.arrange();
      });
      head.append(button);
      this.heads.append(head);
      column.head = head;
    }
    this.showSort();
  }

  showSort() {
    for (const { key, head } of COLUMNS) {
      if (key === this.sort.key) head.setAttribute("aria-sort", this.sort.up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }

  makeChips() {
    this.buttons = new Map();
    for (const state of ["", ...Object.keys(STATES)]) {
      const button = element("button", "");
      button.type = "button";
      button.addEventListener("click", () => {
        this.state = this.state === state ? "" : state;
        this.showChips();
        this.arrange();
      });
      this.chips.append(button);
      this.buttons.set(state, button);
    }
  }

  showChips() {
    const counts = {};
    for (const { data } of this.entries.values()) counts[data.state] = (counts[data.state] ?? 0) + 1;
    for (const [state, button] of this.buttons) {
      write(button, state ? `${STATES[state]} ${state} ${counts[state] ?? 0}` : `all ${this.entries.size}`);
      button.setAttribute("aria-pressed", String(this.state === state));
      button.hidden = Boolean(state) && !counts[state] && this.state !== state;
    }
    return counts;
  }

  /* Take in what has changed of stations; with `complete` others go, and those of `gone` in any case. */
  update(documents, complete, gone) {
    let changed = false;
    for (const told of documents) {
      let entry = this.entries.get(told.id);
      if (!entry) {
        entry = this.make(told);
        this.entries.set(told.id, entry);
        this.showHours(entry);
        changed = true;
      }
      const data = { ...entry.data, ...told };
      changed ||= entry.data.state !== data.state;
      data.last_pick ??= entry.data.last_pick;
      entry.data = data;
      this.show(entry);
    }
    const kept = complete ? new Set(documents.map((one) => one.id)) : null;
    for (const id of [...this.entries.keys()]) {
      if ((kept && !kept.has(id)) || gone?.includes(id)) {
        this.entries.get(id).row.remove();
        this.entries.delete(id);
        changed = true;
      }
    }
    if (changed) this.arrange();
  }

  /* Final picks in each of the last hours, as the API tells. */
  count({ start, stations }) {
    this.hours = { first: Math.round(secondsOf(start) / 3600), stations };
    for (const entry of this.entries.values()) this.showHours(entry);
  }

  /* One more in its hour. */
  counted(entry, pick) {
    if (!entry || !this.hours) return;
    const hours = (this.hours.stations[entry.data.id] ??= new Array(HOURS).fill(0)), place = Math.floor(secondsOf(pick.time) / 3600) - this.hours.first;
    if (place in hours) hours[place] += 1;
    this.showHours(entry);
  }

  showHours({ cells, data }) {
    data.hours = this.hours?.stations[data.id] ?? new Array(HOURS).fill(0);
    const most = Math.max(...data.hours, 1), bars = data.hours.map((count, hour) => (count ? `M${hour} 8v-${(count / most) * 8}h.8V8z` : ""));
    const [path] = cells.hours.getElementsByTagName("path");
    path.setAttribute("d", bars.join(""));
    const sum = data.hours.reduce((all, count) => all + count, 0);
    cells.hours.title = `${sum} final picks in 24 h, at most ${Math.max(...data.hours)} in an hour, ${data.hours.at(-1)} in this one`;
    cells.hours.firstChild.setAttribute("aria-label", cells.hours.title);
  }

  /* A pick of a station, told before the station is. */
  picked(id, pick, live) {
    const entry = this.entries.get(id);
    if (live) this.counted(entry, pick);
    if (!entry || (entry.data.last_pick && secondsOf(entry.data.last_pick.time) >= secondsOf(pick.time))) return;
    entry.data.last_pick = pick;
    this.show(entry);
  }

  make(data) {
    const row = element("tr"), cells = {}, button = element("button", "", data.id);
    row.dataset.id = data.id;
    for (const { key, name } of COLUMNS) {
      cells[key] = element("td", name);
      row.append(cells[key]);
    }
    const named = element("div", "named"), site = element("span", "site quiet");
    button.tabIndex = -1;
    named.append(button, site);
    cells.id.append(named);
    cells.state.append(element("span", "state"));
    cells.hours.append(spark());
    return { row, cells, button, site, data };
  }

  show({ cells, site, data }) {
    const state = cells.state.firstChild, pick = data.last_pick;
    write(site, data.site?.name ?? "");
    cells.id.title = siteText(data.site);
    write(state, `${STATES[data.state] ?? ""} ${data.state}`);
    state.className = `state ${data.state}`;
    write(cells.latency, data.latency_s === null ? "" : duration(data.latency_s));
    write(cells.gaps, data.gaps ? String(data.gaps) : "0");
    cells.gaps.title = `${data.gap_s} s`;
    write(cells.pick, pick ? `${pick.phase} ${clockOf(pick.time).slice(0, 8)}` : "");
    cells.pick.title = pick ? `${pick.time}, probability ${pick.probability.toFixed(2)}` : "";
    write(cells.count, String(data.picks));
    cells.count.title = `${data.picks} final, ${data.early_picks} early, of which ${data.withdrawn_picks} withdrawn`;
    const { P, S } = data.phases;
    write(cells.reason, P.text === S.text ? P.text : `P ${Stations.brief(P)}, S ${Stations.brief(S)}`);
    cells.reason.title = `P ${P.text}; S ${S.text}`;
  }

  static brief(phase) {
    const short = { picked: "picked", refractory: "same onset", settling: "start of data" }[phase.reason];
    return short ?? (phase.highest === null ? phase.reason : `${phase.highest.toFixed(2)} of ${phase.threshold.toFixed(2)}`);
  }

  /* Once a second: ages grow by themselves. */
  tick() {
    const now = this.now();
    for (const { cells, data } of this.entries.values()) {
      write(cells.delay, data.newest ? duration(now - secondsOf(data.newest)) : "");
    }
    if (["delay", "latency", "pick", "count", "gaps", "hours"].includes(this.sort.key)) this.arrange();
  }

  /* Order and filter; rows that stand where they belong are not moved. */
  arrange() {
    const column = COLUMNS.find((one) => one.key === this.sort.key), now = this.now(), up = this.sort.up ? 1 : -1;
    const shown = [...this.entries.values()]
      .filter(({ data }) => (!this.state || data.state === this.state) && `${data.id} ${data.site?.name ?? ""}`.toLowerCase().includes(this.text))
      .map((entry) => [column.of(entry.data, now), entry])
      .sort(([a, one], [b, other]) => (a < b ? -up : a > b ? up : one.data.id < other.data.id ? -1 : 1))
      .map(([, entry]) => entry);
    const wanted = new Set(shown.map((entry) => entry.row));
    for (const row of [...this.body.children]) if (!wanted.has(row)) row.remove();
    const focused = document.activeElement;
    shown.forEach(({ row }, place) => {
      if (this.body.children[place] !== row) this.body.insertBefore(row, this.body.children[place] ?? null);
    });
    if (focused && focused !== document.activeElement && this.body.contains(focused)) focused.focus({ preventScroll: true });
    const counts = this.showChips();
    write(this.note, shown.length === this.entries.size ? "" : `${shown.length} of ${this.entries.size} shown`);
    this.empty.hidden = shown.length > 0;
    write(this.empty, this.entries.size ? "No station matches the filter." : "No station yet.");
    this.reach();
    return counts;
  }

  /* One row can be reached with the Tab key; arrows move from there. */
  reach() {
    const first = this.entries.get(this.chosen)?.button ?? this.body.querySelector("button");
    for (const button of this.body.querySelectorAll("button[tabindex='0']")) if (button !== first) button.tabIndex = -1;
    if (first) first.tabIndex = 0;
  }

  mark(id) {
    const entry = this.entries.get(id);
    if (entry?.row.classList.contains("chosen")) return;
    for (const row of this.body.querySelectorAll("tr.chosen")) {
      row.classList.remove("chosen");
      row.querySelector("button").removeAttribute("aria-current");
    }
    entry?.row.classList.add("chosen");
    entry?.button.setAttribute("aria-current", "true");
    this.chosen = id;
    this.reach();
  }

  move(event) {
    const row = event.target.closest("tr");
    const goal = {
      ArrowDown: () => row.nextElementSibling, ArrowUp: () => row.previousElementSibling,
      Home: () => this.body.firstElementChild, End: () => this.body.lastElementChild,
    }[event.key]?.();
    if (!goal) return;
    event.preventDefault();
    goal.querySelector("button").focus();
    goal.scrollIntoView({ block: "nearest" });
  }
}
