/* The latest picks, the newest above: one row for an onset, whose early pick is replaced by the final one, or struck through. */

const MOST_PICKS = 500;
const RANK = { early: 0, withdrawn: 1, final: 2 };
const MEANING = {
  early: "early: made within a second of the onset; a final pick replaces it, or it is withdrawn",
  withdrawn: "withdrawn: with more data there is no onset",
  final: "final: made with some seconds of data after the onset",
};

/* The same for an early pick and for what becomes of it. */
function onsetOf(pick) { return pick.early_id ?? pick.id; }

/* Whether a document replaces another one of the same onset; they come in any order. */
function replaces(pick, other) { return !other || RANK[pick.stage] > RANK[other.stage]; }

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/* The motion of the ground, where the response of the channel is known. */
function motionText({ velocity_m_s, wood_anderson_mm, wood_anderson_noise_mm, motion_window_s }) {
  if (velocity_m_s === undefined) return "";
  const text = (value) => value?.toPrecision(3) ?? "?";
  return `ground velocity ${text(velocity_m_s * 1e6)} µm/s (2–20 Hz), Wood–Anderson ${text(wood_anderson_mm)} mm (noise ${text(wood_anderson_noise_mm)} mm), in ${motion_window_s} s`;
}

class Picks {
  constructor(body, note, choose) {
    this.body = body;
    this.note = note;
    this.choose = choose;
    this.onsets = new Map();
    this.list = [];
    for (const [stage, meaning] of Object.entries(MEANING)) document.querySelector(`.legend .${stage}`).parentNode.title = meaning;
  }

  static station(pick) { return `${pick.network}.${pick.station}.${pick.location}.${pick.channel.slice(0, -1)}`; }

  /* Take in documents, in any order; those that say nothing new are left alone. Gives the others. */
  add(documents, live) {
    const fresh = documents.filter((pick) => this.take(pick, live));
    for (const pick of this.list.splice(MOST_PICKS)) {
      this.onsets.get(onsetOf(pick)).row.remove();
      this.onsets.delete(onsetOf(pick));
    }
    this.tell();
    return fresh;
  }

  take(document, live) {
    const pick = { ...document, seconds: secondsOf(document.time), at: Picks.station(document) };
    const known = this.onsets.get(onsetOf(pick));
    const early_s = pick.stage === "early" ? pick.latency_s : known?.early_s;
    if (!replaces(pick, known?.pick)) {
      known.early_s = early_s;
      write(known.row.querySelector(".early-latency"), Picks.number(early_s, 1));
      return false;
    }
    if (known) {
      known.row.remove();
      this.list.splice(this.list.indexOf(known.pick), 1);
    }
    const row = this.row(pick, early_s);
    if (live) row.classList.add("new");
    const place = this.list.findIndex((other) => other.seconds <= pick.seconds);
    if (place < 0) {
      this.list.push(pick);
      this.body.append(row);
    } else {
      this.body.insertBefore(row, this.onsets.get(onsetOf(this.list[place])).row);
      this.list.splice(place, 0, pick);
    }
    this.onsets.set(onsetOf(pick), { pick, row, early_s });
    return true;
  }

  /* How many there are, and how long they took. */
  tell() {
    const shown = [...this.onsets.values()], known = (values) => values.filter((value) => Number.isFinite(value));
    const early = known(shown.map((one) => one.early_s));
    const final = known(shown.filter((one) => one.pick.stage === "final").map((one) => one.pick.latency_s));
    const times = [["early", early], ["final", final]].filter(([, values]) => values.length);
    const took = times.map(([stage, values]) => `${stage} ${median(values).toFixed(1)} s`).join(", ");
    const count = this.list.filter((pick) => pick.stage !== "withdrawn").length;
    write(this.note, count ? `${count} latest; automatic, unreviewed${took && `; median latency: ${took}`}` : "none yet");
  }

  static number(value, digits) { return value === null || value === undefined ? "" : value.toFixed(digits); }

  row(pick, early_s) {
    const stage = pick.stage, row = element("tr", stage);
    const day = element("td", "mono", dayOf(pick.time) + clockOf(pick.time));
    day.title = `${pick.time}; local time: ${new Date(pick.seconds * 1000).toLocaleString()}`;
    const station = element("td"), button = element("button", "", `${pick.network}.${pick.station}.${pick.location}.${pick.channel}`);
    button.addEventListener("click", () => this.choose(pick.at));
    station.append(button);
    if (pick.snippet) {
      const link = element("a", "", day.textContent);
      link.href = pick.snippet.replace(/mseed$/, "png");
      link.target = "_blank";
      link.title = `${day.title}; its waveforms`;
      day.replaceChildren(link);
    }
    const phase = element("td", `phase ${pick.phase.toLowerCase()}`), mark = element("span", `mark ${stage}`);
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", stage);
    phase.append(mark, element("span", "", pick.phase));
    const moved = pick.moved_s ?? null;
    phase.title = MEANING[stage] + (moved === null ? "" : `; ${pick.outcome}: ${Math.abs(moved).toFixed(2)} s ${moved < 0 ? "before" : "after"} the early pick`);
    if (pick.polarity) phase.title += `; first motion: ${pick.polarity}`;
    station.title = motionText(pick);
    const number = (value, digits, name) => element("td", `number ${name}`, Picks.number(value, digits));
    row.append(
      day, phase, station, number(pick.probability, 2, ""), number(pick.time_uncertainty_s, 2, "wide"), number(pick.snr, 1, "wide"),
      number(early_s, 1, "wide early-latency"), number(stage === "final" ? pick.latency_s : null, 1, "wide"),
    );
    return row;
  }
}
