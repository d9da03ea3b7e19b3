/* The last minute of one station on a canvas: three components, the probabilities of P and S, and the picks, early ones hollow. */

const BINS = 1500;
const MOST_MARKS = 100;
const LABELS = "ZNE";

class Trace {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /* Forget everything: another station is chosen. */
  clear() {
    this.rows = Array.from({ length: 8 }, () => new Float32Array(BINS).fill(NaN));
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
    this.components = part.components;
    // A part reaches up to the newest bin: one that ends earlier comes from a clock that was set back.
    if (!this.stop || stop < this.stop || part.first - this.stop > BINS) {
      for (const row of this.rows) row.fill(NaN);
    } else {
      for (let bin = this.stop; bin < part.first; bin++) for (const row of this.rows) row[bin % BINS] = NaN;
    }
    const values = [...part.low, ...part.high, part.p, part.s];
    values.forEach((from, number) => {
      const row = this.rows[number];
      for (let i = 0; i < count; i++) row[(part.first + i) % BINS] = from[i] ?? NaN;
    });
    this.stop = stop;
    this.draw();
  }

  /* Draw with the next frame. */
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  paint() {
    const box = this.canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    const width = Math.round(box.width * ratio), height = Math.round(box.height * ratio);
    if (!width || !height) return;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const style = getComputedStyle(document.documentElement);
    const pen = this.canvas.getContext("2d");
    const em = parseFloat(style.fontSize);
    this.colour = (name) => style.getPropertyValue(`--${name}`).trim();
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, box.width, box.height);
    pen.font = `${0.82 * em}px system-ui, sans-serif`;
    const area = { left: 0.8 * em, right: box.width - 0.8 * em, top: 2.1 * em, bottom: box.height - 1.6 * em };
    // Components that the station does not have take no room.
    const there = [0, 1, 2].filter((row) => (this.components[row] ?? "-") !== "-"), shown = there.length ? there : [0, 1, 2];
    const tall = (area.bottom - area.top) / (shown.length + 0.9);
    if (!this.stop) {
      pen.fillStyle = this.colour("quiet");
      pen.fillText("waiting for the next window of this station", area.left, area.top + em);
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

  paintComponent(pen, area, row, top, tall, em) {
    const letter = this.components[row];
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
    const known = letter && letter !== "-";
    const size = high >= low ? `±${((high - low) / 2).toLocaleString("en", { maximumSignificantDigits: 3 })} counts` : "no data";
    this.label(pen, known ? letter : LABELS[row], known ? size : "missing", area.left, top + em);
  }

  paintCurves(pen, area, top, tall, em) {
    const y = (value) => top + tall - value * tall * 0.92;
    pen.strokeStyle = this.colour("line");
    pen.strokeRect(area.left, y(1), area.right - area.left, y(0) - y(1));
    [["p", 6], ["s", 7]].forEach(([name, row]) => {
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
    const radius = 0.3 * em, head = area.top - 0.2 * em, gap = 0.4 * em;
    const shown = this.picks
      .filter((pick) => pick.stage !== "withdrawn")
      .map((pick) => ({ pick, bin: pick.seconds / this.bin_s, text: `${pick.phase} ${pick.probability.toFixed(2)}` }))
      .filter(({ bin }) => bin >= this.stop - BINS && bin <= this.stop)
      .sort((a, b) => a.bin - b.bin);
    for (const one of shown) {
      one.x = this.x(one.bin);
      one.wide = pen.measureText(one.text).width;
    }
    // Texts stand above their marks, or as near as others leave room, from the left and then from the right: the newest is at the edge.
    let edge = area.left - gap;
    for (const one of shown) {
      one.left = Math.max(one.x - one.wide / 2, edge + gap);
      edge = one.left + one.wide;
    }
    edge = area.right + gap;
    for (const one of [...shown].reverse()) {
      one.left = Math.min(one.left, edge - gap - one.wide);
      edge = one.left;
    }
    for (const { pick, x, text, left } of shown) {
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
      pen.fillText(text, left, head - radius - 0.35 * em);
    }
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
