/* The last minute of one station on a canvas: three components, the probabilities of P and S, and the picks, early ones hollow. What is
   known of a pick is written above it, in elements over the canvas. */

const BINS = 1500;
const MOST_MARKS = 100;
const LABELS = "ZNE";
const RAW = 0, P_ROW = 6, BAND = 8, ROWS = 14;
/* First motion of the ground. */
const MOTIONS = { up: "↑", down: "↓" };
/* How much is written at a pick: all lines, the first one, the phase. */
const AMOUNTS = ["whole", "short", "least"];

class Trace {
  constructor(canvas, labels) {
    this.canvas = canvas;
    this.labels = labels;
    this.raw = false;
    this.written = new Map();
    this.draw = drawing(canvas, () => this.paint());
    this.clear();
  }

  /* Forget everything: another station is chosen. */
  clear() {
    this.rows = Array.from({ length: ROWS }, () => new Float32Array(BINS).fill(NaN));
    this.stop = 0;
    this.components = "---";
    this.picks = [];
    this.thresholds = {};
    this.draw();
  }

  /* Take in an event of the stream; bins lie on an absolute grid. */
  add(part) {
    const count = part.p.length, stop = part.first + count;
    this.bin_s = part.bin_s;
    this.band_hz = part.band_hz;
    this.components = part.components;
    // A part reaches up to the newest bin: one that ends earlier comes from a clock that was set back.
    if (!this.stop || stop < this.stop || part.first - this.stop > BINS) {
      for (const row of this.rows) row.fill(NaN);
    } else {
      for (let bin = this.stop; bin < part.first; bin++) for (const row of this.rows) row[bin % BINS] = NaN;
    }
    const values = [...part.low, ...part.high, part.p, part.s, ...part.band_low, ...part.band_high];
    values.forEach((from, number) => {
      const row = this.rows[number];
      for (let i = 0; i < count; i++) row[(part.first + i) % BINS] = from[i] ?? NaN;
    });
    this.stop = stop;
    this.draw();
  }

  paint() {
    const sheet = sheetOf(this.canvas);
    if (!sheet) return;
    const { pen, em, wide, high } = sheet;
    this.colour = sheet.colour;
    const area = { left: 0.8 * em, right: wide - 0.8 * em, top: 4.6 * em, bottom: high - 1.6 * em };
    // Components that the station does not have take no room.
    const there = [0, 1, 2].filter((row) => (this.components[row] ?? "-") !== "-"), shown = there.length ? there : [0, 1, 2];
    const tall = (area.bottom - area.top) / (shown.length + 0.9);
    if (!this.stop) {
      pen.fillStyle = this.colour("quiet");
      pen.fillText("waiting for the next window of this station", area.left, area.top + em);
      this.write([], area);
      return;
    }
    this.x = (bin) => area.left + ((bin - this.stop + BINS) / BINS) * (area.right - area.left);
    this.paintGaps(pen, area);
    this.paintAxis(pen, area, em);
    shown.forEach((row, place) => this.paintComponent(pen, area, row, area.top + place * tall, tall * 0.94, em));
    this.paintCurves(pen, area, area.top + shown.length * tall, tall * 0.9, em);
    this.paintPicks(pen, area, em);
  }

  /* Value of a row at an absolute bin. */
  at(row, bin) { return this.rows[row][bin % BINS]; }

  /* Lengths of line and gap of a phase. */
  dash(name) { return this.colour(`${name}-dash`).split(" ").filter(Boolean).map(Number); }

  paintGaps(pen, area) {
    pen.fillStyle = this.colour("gap");
    let start = null;
    for (let bin = this.stop - BINS; bin <= this.stop; bin++) {
      const empty = bin < this.stop && [0, 1, 2].every((row) => Number.isNaN(this.at(row, bin)));
      if (empty && start === null) start = bin;
      if (!empty && start !== null) {
        pen.fillRect(this.x(start), area.top, this.x(bin) - this.x(start), area.bottom - area.top);
        start = null;
      }
    }
  }

  paintAxis(pen, area, em) {
    const stop_s = this.stop * this.bin_s, narrow = area.right - area.left < 32 * em;
    pen.textAlign = "center";
    for (let second = Math.ceil((stop_s - 60) / 10) * 10; second <= stop_s; second += 10) {
      const x = this.x(second / this.bin_s);
      pen.strokeStyle = this.colour("line");
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(x, area.top);
      pen.lineTo(x, area.bottom);
      pen.stroke();
      if ((narrow && second % 20) || x < area.left + 2 * em || x > area.right - 2 * em) continue;
      pen.fillStyle = this.colour("quiet");
      pen.fillText(new Date(second * 1000).toISOString().slice(11, 19), x, area.bottom + 1.15 * em);
    }
    pen.textAlign = "left";
  }

  paintComponent(pen, area, component, top, tall, em) {
    const letter = this.components[component], row = component + (this.raw ? RAW : BAND);
    let low = Infinity, high = -Infinity;
    for (let bin = this.stop - BINS; bin < this.stop; bin++) {
      const least = this.at(row, bin), most = this.at(row + 3, bin);
      if (least < low) low = least;
      if (most > high) high = most;
    }
    if (high >= low) {
      const middle = (low + high) / 2, half = (high - low) / 2 || 1;
      const y = (value) => top + tall / 2 - ((value - middle) / half) * tall * 0.46;
      pen.strokeStyle = this.colour("trace");
      pen.lineWidth = 1;
      pen.lineJoin = "round";
      pen.beginPath();
      let drawing = false;
      for (let bin = this.stop - BINS; bin < this.stop; bin++) {
        const least = this.at(row, bin), most = this.at(row + 3, bin);
        if (Number.isNaN(least)) { drawing = false; continue; }
        const x = this.x(bin + 0.5);
        if (drawing) pen.lineTo(x, y(most)); else pen.moveTo(x, y(most));
        pen.lineTo(x, y(least));
        drawing = true;
      }
      pen.stroke();
    }
    const known = letter && letter !== "-", band = this.raw ? "raw" : `${this.band_hz.join("–")} Hz`;
    const size = high >= low ? `±${counts((high - low) / 2)}, ${band}` : "no data";
    this.label(pen, known ? letter : LABELS[component], known ? size : "missing", area.left, top + em);
  }

  paintCurves(pen, area, top, tall, em) {
    const y = (value) => top + tall - value * tall * 0.92;
    pen.strokeStyle = this.colour("line");
    pen.strokeRect(area.left, y(1), area.right - area.left, y(0) - y(1));
    [["p", P_ROW], ["s", P_ROW + 1]].forEach(([name, row]) => {
      const threshold = this.thresholds[name];
      pen.strokeStyle = this.colour(name);
      if (threshold) {
        pen.lineWidth = 1;
        pen.setLineDash([1, 3]);
        pen.beginPath();
        pen.moveTo(area.left, y(threshold));
        pen.lineTo(area.right, y(threshold));
        pen.stroke();
      }
      pen.lineWidth = 2;
      pen.setLineDash(this.dash(name));
      pen.beginPath();
      let drawing = false;
      for (let bin = this.stop - BINS; bin < this.stop; bin++) {
        const value = this.at(row, bin);
        if (Number.isNaN(value)) { drawing = false; continue; }
        const x = this.x(bin + 0.5);
        if (drawing) pen.lineTo(x, y(value)); else pen.moveTo(x, y(value));
        drawing = true;
      }
      pen.stroke();
      pen.setLineDash([]);
    });
    this.label(pen, "P, S", "probability 0 to 1", area.left, y(1) + em);
  }

  /* Show a pick, or what became of it. */
  mark(pick) {
    const known = this.picks.find((other) => onsetOf(other) === onsetOf(pick));
    if (!replaces(pick, known)) return;
    const others = this.picks.filter((other) => other !== known);
    this.picks = [...others.slice(-MOST_MARKS), { ...pick, seconds: secondsOf(pick.time) }];
    this.draw();
  }

  paintPicks(pen, area, em) {
    const radius = 0.3 * em, head = area.top - 0.2 * em;
    const shown = this.picks
      .filter((pick) => pick.stage !== "withdrawn")
      .map((pick) => ({ pick, bin: pick.seconds / this.bin_s }))
      .filter(({ bin }) => bin >= this.stop - BINS && bin <= this.stop)
      .sort((a, b) => a.bin - b.bin);
    for (const one of shown) one.x = this.x(one.bin);
    this.write(shown, area);
    for (const { pick, x, label } of shown) {
      const early = pick.stage === "early", name = pick.phase.toLowerCase();
      pen.strokeStyle = pen.fillStyle = this.colour(name);
      pen.lineWidth = 1.5;
      pen.globalAlpha = early ? 0.6 : 1;
      pen.setLineDash(this.dash(name));
      pen.beginPath();
      pen.moveTo(x, head + radius);
      pen.lineTo(x, area.bottom);
      pen.stroke();
      pen.globalAlpha = 1;
      pen.setLineDash([]);
      pen.beginPath();
      pen.arc(x, head, radius, 0, 2 * Math.PI);
      if (!early) pen.fill();
      pen.stroke();
      if (!label) continue;
      // From the label, which may stand aside, to the mark.
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(Math.min(Math.max(x, label.left), label.left + label.wide), label.foot);
      pen.lineTo(x, head - radius);
      pen.stroke();
    }
  }

  /* Write what is known of picks above their marks, or as near as others leave room: the most of the newest; where not even the least of all has
     room, of the newest alone. */
  write(shown, area) {
    const before = this.written, gap = 10;
    this.written = new Map();
    for (const one of shown) {
      const key = `${one.pick.id} ${one.pick.stage}`, known = before.get(key);
      before.delete(key);
      one.node = known ?? this.node(one.pick);
      this.written.set(key, one.node);
    }
    for (const node of before.values()) node.remove();
    const room = area.right - area.left;
    for (const amount of AMOUNTS) {
      for (const { node } of shown) node.dataset.amount = amount;
      for (const one of shown) one.widths = { ...one.widths, [amount]: one.node.offsetWidth };
    }
    let spare = shown.reduce((sum, { widths }) => sum - widths.least - gap, room + gap);
    for (const { node, widths } of [...shown].reverse()) {
      const amount = AMOUNTS.find((one) => widths[one] - widths.least <= spare) ?? "least";
      node.dataset.amount = amount;
      spare -= widths[amount] - widths.least;
    }
    let left = room + gap;
    const labelled = [...shown].reverse().filter(({ node }) => (left -= node.offsetWidth + gap) >= 0).reverse();
    for (const one of shown) one.node.style.visibility = labelled.includes(one) ? "" : "hidden";
    // From the left, and then from the right: the newest is at the edge.
    let edge = area.left - gap;
    for (const one of labelled) {
      const wide = one.node.offsetWidth;
      one.label = { wide, left: Math.max(one.x - wide / 2, edge + gap), foot: this.labels.offsetTop + this.labels.offsetHeight };
      edge = one.label.left + wide;
    }
    edge = area.right + gap;
    for (const one of [...labelled].reverse()) {
      one.label.left = Math.min(one.label.left, edge - gap - one.label.wide);
      edge = one.label.left;
      one.node.style.left = `${one.label.left}px`;
    }
  }

  /* The label of a pick. */
  node(pick) {
    const node = element("li", `${pick.phase.toLowerCase()} ${pick.stage}`), first = element("b", "", pick.phase + (MOTIONS[pick.polarity] ?? ""));
    first.append(element("span", "time", ` ${clockOf(pick.time)}`));
    const { snr, time_uncertainty_s: uncertainty_s } = pick;
    node.append(
      first,
      element("span", "more", `${pick.probability.toFixed(2)}  ±${uncertainty_s.toFixed(2)} s`),
      element("span", "more", `${snr === null ? "" : `snr ${snr.toFixed(1)}  `}${pick.stage}`),
    );
    node.title = `${pick.phase} ${pick.time}, probability ${pick.probability.toFixed(2)}, ± ${uncertainty_s.toFixed(2)} s, ${pick.stage}`;
    this.labels.append(node);
    return node;
  }

  label(pen, strong, text, x, y) {
    const font = pen.font;
    pen.font = `600 ${font}`;
    const wide = pen.measureText(`${strong}  `).width;
    pen.font = font;
    const whole = wide + pen.measureText(text).width;
    pen.globalAlpha = 0.8;
    pen.fillStyle = this.colour("card");
    pen.fillRect(x, y - 0.95 * parseFloat(font), whole + 6, 1.3 * parseFloat(font));
    pen.globalAlpha = 1;
    pen.font = `600 ${font}`;
    pen.fillStyle = this.colour("ink");
    pen.fillText(strong, x + 3, y);
    pen.font = font;
    pen.fillStyle = this.colour("quiet");
    pen.fillText(text, x + 3 + wide, y);
  }
}
