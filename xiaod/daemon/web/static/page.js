/* The page: listens to /api/stream, and starts over when the connection is lost. */

/* Something is told at least twice a second: after so long without a word the page says so, and then begins anew. */
const SILENT_S = 2.5;
const QUIET_S = 10;
const RETRY_S = [1, 2, 5, 10, 30];
const FOLLOW_S = 5;
/* So many stations leave room for a trace of the whole width. */
const FEW = 5;
const SETTLED_S = 10;
const one = (id) => document.getElementById(id);

/* What the API answers. */
async function ask(path) {
  if (!path) return null;
  const answer = await fetch(path), told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

class Page {
  constructor() {
    this.offset_s = 0;
    this.chosen = null;
    this.failures = 0;
    this.heard = Date.now();
    this.followed = 0;
    const choose = (id) => this.go({ station: id }), now = () => this.now();
    this.trace = new Trace(one("canvas"), one("labels"));
    const open = (id) => this.go({ station: id, view: this.view === "wall" ? "station" : this.view });
    this.events = new Events(one("events"), one("event-rows"), () => this.map.draw());
    this.picks = new Picks(one("pick-rows"), one("picks-note"), open);
    this.stations = new Stations(
      {
        body: one("station-rows"), heads: one("heads"), chips: one("states"), filter: one("filter"), note: one("stations-note"),
        empty: one("no-stations"),
      },
      now, choose,
    );
    this.wall = new Wall(
      { canvas: one("wall-canvas"), scroller: one("wall-scroll"), rest: one("wall-rest"), span: one("wall-span"), note: one("wall-note") },
      this.stations.entries, now, open,
    );
    this.day = new Day(one("day-canvas"), one("day-note"), now);
    this.map = new StationMap(
      { canvas: one("map-canvas"), note: one("map-note") }, this.stations.entries, now, (id) => this.wall.newest(id),
      (id) => this.go({ station: id, view: "station" }), () => this.events.located,
    );
    this.sound = new Sound(one("sound"));
    addEventListener("hashchange", () => this.go(Page.address()));
    one("band").addEventListener("click", () => this.filter());
    one("kiosk").addEventListener("click", () => this.go({ kiosk: true }));
    for (const button of document.querySelectorAll("#views [data-view]")) button.addEventListener("click", () => this.go({ view: button.dataset.view }));
    addEventListener("keydown", (event) => this.key(event));
    setInterval(() => this.tick(), 1000);
    setInterval(() => this.listen(), 500);
    const { station, ...rest } = Page.address();
    this.chosen = station;
    this.show(rest);
    this.connect();
  }

  /* Seconds since 1970 by the daemon's clock. */
  now() { return Date.now() / 1000 + this.offset_s; }

  /* Keys of the whole page; in a field they are text. */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select")) return;
    const act = {
      f: () => this.filter(), s: () => this.go({ view: "station" }), w: () => this.go({ view: "wall" }), d: () => this.go({ view: "day" }),
      m: () => this.go({ view: "map" }),
      k: () => this.go({ kiosk: !this.kiosk }), Escape: () => this.go({ kiosk: false }),
    }[event.key];
    act?.();
  }

  /* Band-passed or raw samples. */
  filter() {
    this.trace.raw = !this.trace.raw;
    one("band").setAttribute("aria-pressed", String(!this.trace.raw));
    this.trace.draw();
  }

  /* What the address asks for: words joined by &, such as #kiosk&wall or #day&BW.RJOB..EH; identifiers have dots. */
  static address() {
    const words = location.hash.slice(1).split("&"), kiosk = words.includes("kiosk");
    const view = ["wall", "day", "map"].find((name) => words.includes(name)) ?? "station";
    try { return { kiosk, view, station: words.map(decodeURIComponent).find((word) => word.includes(".")) ?? null }; }
    catch { return { kiosk, view, station: null }; }
  }

  /* Change what is shown: a view, the kiosk, a station; what is not named stays. */
  go({ view = this.view, kiosk = this.kiosk, station }) {
    const other = view !== this.view, moved = Boolean(station) && station !== this.chosen;
    this.show({ view, kiosk });
    if (moved) {
      this.chosen = station;
      this.trace.clear();
      this.showChosen();
    }
    this.locate();
    if (other || (moved && view === "station")) this.connect();
  }

  show({ view, kiosk }) {
    this.view = view;
    this.kiosk = kiosk;
    // Without a station in the address, a kiosk follows the newest pick too.
    this.follows = kiosk && (one("follow").checked || !Page.address().station);
    document.body.dataset.view = view;
    document.documentElement.classList.toggle("kiosk", kiosk);
    for (const button of document.querySelectorAll("#views [data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    this.trace.draw();
    this.wall.draw();
    this.map.draw();
    this.showDay();
  }

  locate() {
    const words = [this.kiosk && "kiosk", this.view !== "station" && this.view, this.chosen && !this.follows && encodeURIComponent(this.chosen)];
    history.replaceState(null, "", `#${words.filter(Boolean).join("&")}`);
  }

  connect() {
    clearTimeout(this.retry);
    this.source?.close();
    this.asked = Date.now();
    const query = new URLSearchParams({ ...(this.view === "wall" && { wall: 1 }), ...(this.view === "station" && this.chosen && { station: this.chosen }) });
    const source = this.source = new EventSource(`/api/stream?${query}`);
    const on = (name, take) => source.addEventListener(name, (event) => {
      if (source !== this.source) return;
      this.heard = Date.now();
      if (this.isLost) this.say("on", "live");
      take(JSON.parse(event.data));
    });
    on("stations", (told) => this.takeStations(told));
    on("problems", (told) => this.takeProblems(told.problems));
    on("pick", (pick) => this.takePicks([pick], true));
    on("trace", (part) => { if (part.station === this.chosen) this.trace.add(part); });
    on("wall", (told) => this.wall.add(told));
    source.onopen = () => { this.failures = 0; this.say("on", "live"); this.load(); };
    source.onerror = () => { if (source === this.source) this.lost(); };
  }

  /* The browser would try again by itself, but not after a refusal, and not when the chosen station is gone. */
  lost() {
    this.source.close();
    const wait_s = RETRY_S[Math.min(this.failures, RETRY_S.length - 1)];
    this.failures += 1;
    if (this.failures === 2 && this.chosen && !this.stations.entries.has(this.chosen)) this.chosen = null;
    this.say("off", `connection lost, next try in ${wait_s} s`);
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.connect(), wait_s * 1000);
  }

  say(name, text) {
    one("link").className = `link ${name}`;
    write(one("link"), text);
    // What is shown is old: it must not look as if it were of now.
    this.isLost = name === "off";
    document.body.classList.toggle("lost", this.isLost);
    this.summarize();
  }

  /* What the stream does not tell: picks before it began, and who answers. */
  async load() {
    try {
      const chosen = this.chosen;
      const own = chosen ? `/api/picks?stage=all&limit=100&station=${encodeURIComponent(chosen)}` : null;
      const wall = this.view === "wall" ? "/api/wall" : null;
      const [picks, all, marks, traces] = await Promise.all(["/api/picks?stage=all&limit=400", "/api/stations", own, wall].map(ask));
      this.takePicks(Page.whole(picks), false);
      if (marks && chosen === this.chosen) Page.whole(marks).forEach((pick) => this.mark(pick));
      if (traces) this.wall.add(traces);
      this.loadHours();
      this.events.load();
      this.about = `${all.version}, ${all.model}`;
      this.summarize();
    } catch {
      write(one("picks-note"), "earlier picks could not be loaded");
    }
  }

  /* Picks of each hour; after that, they are counted as they come. */
  async loadHours() {
    try {
      this.stations.count(await ask("/api/picks-per-hour"));
    } catch {
      // The store cannot be read now, as the banner says.
    }
  }

  /* Picks of an answer; of the oldest early ones in a full answer, what became of them may have been left out. */
  static whole({ picks, truncated }) {
    const from = truncated ? secondsOf(picks[0].time) + SETTLED_S : -Infinity;
    return picks.filter((pick) => pick.stage === "final" || secondsOf(pick.time) >= from);
  }

  takeStations(told) {
    this.offset_s = secondsOf(told.time) - Date.now() / 1000;
    this.stations.update(told.stations, told.complete, told.gone);
    document.body.classList.toggle("few", this.stations.entries.size <= FEW);
    document.querySelector("#views [data-view='map']").hidden = ![...this.stations.entries.values()].some(({ data }) => data.site);
    if (!this.chosen && this.stations.entries.size) {
      const all = [...this.stations.entries.keys()].sort().map((id) => this.stations.entries.get(id).data);
      const best = all.find((data) => data.state === "live" && data.last_pick) ?? all.find((data) => data.state === "live") ?? all[0];
      this.go({ station: best.id });
    }
    this.showChosen();
    this.summarize();
    this.tick();
  }

  /* What is wrong stays in sight until it is right again. */
  takeProblems(problems) {
    const list = one("problems"), told = JSON.stringify(problems);
    // What has not changed is not read aloud again.
    if (list.dataset.told === told) return;
    list.dataset.told = told;
    list.replaceChildren(...problems.map((problem) => element("li", problem.code, problem.text)));
    list.hidden = !problems.length;
  }

  /* A pick of the chosen station belongs into its trace. */
  mark(pick) {
    if (Picks.station(pick) === this.chosen) this.trace.mark(pick);
  }

  takePicks(documents, live) {
    for (const pick of this.picks.add(documents, live)) {
      const id = Picks.station(pick);
      if (pick.stage === "final") this.stations.picked(id, pick, live);
      this.wall.mark(id, pick);
      this.mark(pick);
      if (live && pick.stage !== "withdrawn") this.follow(id, pick);
    }
    this.wall.draw();
    this.map.draw();
  }

  /* Go to where a pick is new, if that is wanted, but not from one to the next. */
  follow(id, pick) {
    this.sound.play(pick);
    if ((this.follows || one("follow").checked) && Date.now() - this.followed > FOLLOW_S * 1000) {
      this.followed = Date.now();
      this.go({ station: id });
    }
  }

  showDay() {
    write(one("day-title"), this.chosen ?? "No station chosen");
    if (this.view === "day") this.day.show(this.chosen);
  }

  showChosen() {
    const data = this.stations.entries.get(this.chosen)?.data;
    this.stations.mark(this.chosen);
    this.map.chosen = this.chosen;
    this.map.draw();
    write(one("trace-title"), this.chosen ?? "No station chosen");
    this.showDay();
    if (!data) return;
    write(one("trace-site"), data.site?.name ?? "");
    one("trace-site").title = siteText(data.site);
    write(one("trace-state"), `${STATES[data.state] ?? ""} ${data.state}`);
    one("trace-state").className = `state ${data.state}`;
    this.trace.thresholds = { p: data.phases.P.threshold, s: data.phases.S.threshold };
    this.trace.draw();
    const why = one("why");
    if (!why.children.length) {
      for (const phase of "PS") why.append(element("dt", phase.toLowerCase(), phase), element("dd"));
    }
    write(why.children[1], data.phases.P.text);
    write(why.children[3], data.phases.S.text);
    one("canvas").setAttribute(
      "aria-label",
      `Last 60 seconds of ${this.chosen} with probabilities. P: ${data.phases.P.text}. S: ${data.phases.S.text}.`,
    );
  }

  summarize() {
    const all = [...this.stations.entries.values()], live = all.filter((entry) => entry.data.state === "live").length;
    const about = this.about ? `${this.about}; ` : "";
    const stations = this.isLost ? `as of ${new Date(this.heard + this.offset_s * 1000).toISOString().slice(11, 19)} UTC` : `${live} of ${all.length} station${all.length === 1 ? "" : "s"} live`;
    write(one("summary"), `${about}${stations}`);
    document.title = this.isLost ? "no connection: xiaod" : `${live}/${all.length} xiaod`;
  }

  tick() {
    one("clock").title = `UTC, by the clock of the daemon; local time: ${new Date(this.now() * 1000).toLocaleString()}`;
    write(one("clock"), `${new Date(this.now() * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`);
    const local = new Date(this.now() * 1000);
    // Where the two are the same, once is enough.
    write(one("local"), local.getTimezoneOffset() ? local.toLocaleTimeString("en", { hour12: false, timeZoneName: "short" }) : "");
    this.stations.tick();
    this.wall.draw();
    this.map.draw();
    this.showDay();
    if (Math.floor(this.now() / 3600) !== this.hour) {
      // A new hour, or the first: counts move on.
      if (this.hour) this.loadHours();
      this.hour = Math.floor(this.now() / 3600);
    }
  }

  /* A line that is cut, and a daemon that hangs, say no word. */
  listen() {
    const silent_s = (Date.now() - Math.max(this.heard, this.asked)) / 1000;
    if (silent_s < SILENT_S || this.source.readyState === EventSource.CLOSED) return;
    this.say("off", `no word for ${Math.round(silent_s)} s`);
    if (silent_s >= QUIET_S) this.lost();
  }
}

new Page();
