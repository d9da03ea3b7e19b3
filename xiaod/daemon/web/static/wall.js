/* The wall: an envelope of the last minutes of every station, in the band of onsets; those with the newest picks are on top. Only rows in
   sight are drawn. */

const WALL_BINS = 1200;
const WALL_S = 300;
const WALL_MARKS = 40;

/* Peaks of the API: base64 of the upper halves of float32. */
function peaksOf(text) {
  const bytes = atob(text), words = new Uint32Array(bytes.length >> 1);
  for (let i = 0; i < words.length; i++) words[i] = (bytes.charCodeAt(2 * i) | (bytes.charCodeAt(2 * i + 1) << 8)) << 16;
  return new Float32Array(words.buffer);
}

/* The newest peaks of a station in a ring. */
class Envelope {
  constructor(bins) {
    this.ring = new Float32Array(bins).fill(NaN);
    this.stop = null;
  }

  put({ first, peaks }) {
    const values = peaksOf(peaks), bins = this.ring.length, stop = first + values.length;
    if (this.stop === null || stop < this.stop - bins || first >= this.stop + bins) {
      this.ring.fill(NaN);
      this.stop = first;
    }
    for (let bin = this.stop; bin < first; bin++) this.ring[bin % bins] = NaN;
    // Of what comes twice the newer holds: the newest bin may not have been whole.
    for (let i = Math.max(0, values.length - bins); i < values.length; i++) this.ring[(first + i) % bins] = values[i];
    this.stop = Math.max(stop, this.stop);
  }

  /* Peak of a bin; not a number where there is none. */
  at(bin) { return this.stop === null || bin >= this.stop || bin < this.stop - this.ring.length ? NaN : this.ring[bin % this.ring.length]; }
}

/* Fill the envelope of bins around a line: a bar for each, on whole pixels, which is quicker than one outline with slopes. */
function paintEnvelope(pen, envelope, begin, stop, x, middle, half) {
  const ratio = devicePixelRatio || 1, pixel = (value) => Math.round(value * ratio) / ratio;
  let left = pixel(x(begin)), most = -1;
  for (let bin = begin; bin < stop; bin++) {
    const right = pixel(x(bin + 1)), peak = envelope.at(bin);
    if (peak > most) most = peak;
    // Bins that share a pixel are one bar, as high as the highest.
    if (right <= left) continue;
    if (most >= 0) {
      const top = pixel(middle - Math.max(0.5, half(most)));
      pen.fillRect(left, top, right - left, Math.max(1 / ratio, pixel(2 * (middle - top))));
    }
    left = right;
    most = -1;
  }
}

class Wall {
  constructor(parts, entries, now, choose) {
    Object.assign(this, parts, { entries, now, choose });
    this.span_s = WALL_S;
    this.bin_s = 0.25;
    this.envelopes = new Map();
    /* Where data begin: they are kept while somebody looks. */
    this.since_s = Infinity;
    this.marks = new Map();
    this.order = [];
    this.draw = drawing(this.canvas, () => this.paint());
    this.scroller.addEventListener("scroll", () => this.draw());
    this.span.addEventListener("change", () => { this.span_s = Number(this.span.value); this.draw(); });
    // Rows stay where they are while somebody points at one.
    this.canvas.addEventListener("pointermove", (event) => { this.pointed = this.rowAt(event); this.draw(); });
    this.canvas.addEventListener("pointerleave", () => { this.pointed = null; this.draw(); });
    this.canvas.addEventListener("click", (event) => {
      const id = this.order[this.rowAt(event)];
      this.pointed = null;
      if (id) this.choose(id);
    });
  }

  rowAt(event) {
    const row = Math.floor((event.offsetY - this.head + this.scroller.scrollTop) / this.tall);
    return event.offsetY >= this.head && row < this.order.length ? row : null;
  }

  /* Take in an event of the stream, or all of /api/wall. */
  add(told) {
    this.bin_s = told.bin_s;
    for (const [id, part] of Object.entries(told.stations)) {
      this.since_s = Math.min(this.since_s, part.first * told.bin_s);
      if (!this.envelopes.has(id)) this.envelopes.set(id, new Envelope(WALL_BINS));
      this.envelopes.get(id).put(part);
    }
    for (const id of this.envelopes.keys()) if (!this.entries.has(id)) this.envelopes.delete(id);
    this.draw();
  }

  /* Show a pick, or what became of it. */
  mark(id, pick) {
    const marks = this.marks.get(id) ?? [], known = marks.find((other) => onsetOf(other) === onsetOf(pick));
    if (!replaces(pick, known)) return;
    const all = [...marks.filter((other) => other !== known), { ...pick, seconds: secondsOf(pick.time) }];
    this.marks.set(id, all.sort((a, b) => a.seconds - b.seconds).slice(-WALL_MARKS));
  }

  /* The newest pick of a station that was not withdrawn. */
  newest(id) { return this.marks.get(id)?.findLast((pick) => pick.stage !== "withdrawn"); }

  /* Stations with the newest picks first, then those that send data, then the others. */
  arrange() {
    if (this.pointed !== null && this.pointed !== undefined && this.order.length === this.entries.size) return;
    const rank = ({ data }) => (data.state === "live" ? 1 : 0);
    this.order = [...this.entries.values()]
      .map((entry) => ({ entry, id: entry.data.id, seconds: this.newest(entry.data.id)?.seconds ?? -Infinity }))
      .sort((a, b) => b.seconds - a.seconds || rank(b.entry) - rank(a.entry) || (a.id < b.id ? -1 : 1))
      .map(({ id }) => id);
    for (const id of this.marks.keys()) if (!this.entries.has(id)) this.marks.delete(id);
  }

  paint() {
    const sheet = sheetOf(this.canvas);
    if (!sheet) return;
    this.arrange();
    const { pen, em, wide, high, colour } = sheet, count = this.order.length;
    this.head = 1.7 * em;
    this.tall = Math.min(Math.max((high - this.head) / Math.max(count, 1), 2.1 * em), 8 * em);
    this.rest.style.height = `${Math.max(0, this.head + count * this.tall - high)}px`;
    const beside = wide > 45 * em, area = { left: beside ? 15 * em : 0.6 * em, right: wide - 0.8 * em };
    const stop_s = this.now(), begin_s = stop_s - this.span_s;
    const x = (seconds) => area.left + ((seconds - begin_s) / this.span_s) * (area.right - area.left);
    const first = Math.floor(this.scroller.scrollTop / this.tall), top = this.head - this.scroller.scrollTop;
    pen.save();
    pen.beginPath();
    pen.rect(0, this.head, wide, high - this.head);
    pen.clip();
    this.paintAxis(pen, sheet, area, begin_s, stop_s, x, false);
    for (let row = first; row < count && top + row * this.tall < high; row++) this.paintRow(pen, sheet, area, row, top + row * this.tall, begin_s, stop_s, x, beside);
    pen.restore();
    this.paintAxis(pen, sheet, area, begin_s, stop_s, x, true);
    this.tell();
  }

  /* A line for each half minute, or its time in the head. */
  paintAxis(pen, { em, high, colour }, area, begin_s, stop_s, x, head) {
    const step_s = [10, 30, 60, 120].find((step) => x(step) - x(0) > 6 * em) ?? 300;
    pen.strokeStyle = colour("line");
    pen.fillStyle = colour("quiet");
    pen.lineWidth = 1;
    pen.textAlign = "center";
    for (let second = Math.ceil(begin_s / step_s) * step_s; second <= stop_s; second += step_s) {
      const at = x(second);
      if (!head) {
        pen.beginPath();
        pen.moveTo(at, this.head);
        pen.lineTo(at, high);
        pen.stroke();
      } else if (at > area.left + 2.2 * em && at < area.right - 2.2 * em) {
        pen.fillText(new Date(second * 1000).toISOString().slice(11, 19), at, this.head - 0.5 * em);
      }
    }
    pen.textAlign = "left";
  }

  paintRow(pen, { em, wide, colour }, area, row, top, begin_s, stop_s, x, beside) {
    const id = this.order[row], envelope = this.envelopes.get(id), { data } = this.entries.get(id), middle = top + this.tall / 2;
    if (row === this.pointed) {
      pen.fillStyle = colour("hover");
      pen.fillRect(0, top, wide, this.tall);
    }
    pen.strokeStyle = colour("line");
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(0, top + this.tall - 0.5);
    pen.lineTo(wide, top + this.tall - 0.5);
    pen.stroke();
    const begin = Math.floor(begin_s / this.bin_s), stop = Math.ceil(stop_s / this.bin_s);
    let most = 0;
    if (envelope) for (let bin = begin; bin < stop; bin++) if (envelope.at(bin) > most) most = envelope.at(bin);
    pen.save();
    pen.beginPath();
    pen.rect(area.left, top, area.right - area.left, this.tall);
    pen.clip();
    if (envelope) {
      pen.fillStyle = colour("trace");
      paintEnvelope(pen, envelope, begin, stop, (bin) => x(bin * this.bin_s), middle, (value) => (value / (most || 1)) * this.tall * 0.44);
    }
    this.paintMarks(pen, em, colour, id, top, begin_s, stop_s, x);
    pen.restore();
    this.write(pen, em, colour, area, data, most, top, beside);
  }

  paintMarks(pen, em, colour, id, top, begin_s, stop_s, x) {
    const shown = (this.marks.get(id) ?? []).filter((pick) => pick.stage !== "withdrawn" && pick.seconds >= begin_s && pick.seconds <= stop_s);
    shown.forEach((pick, number) => {
      const name = pick.phase.toLowerCase(), at = x(pick.seconds);
      pen.strokeStyle = pen.fillStyle = colour(name);
      pen.lineWidth = 2;
      pen.globalAlpha = pick.stage === "early" ? 0.55 : 1;
      pen.setLineDash(colour(`${name}-dash`).split(" ").filter(Boolean).map(Number));
      pen.beginPath();
      pen.moveTo(at, top + 1);
      pen.lineTo(at, top + this.tall - 2);
      pen.stroke();
      pen.setLineDash([]);
      pen.globalAlpha = 1;
      // The letter, where the next mark leaves room.
      const next = number + 1 < shown.length ? x(shown[number + 1].seconds) : x(stop_s);
      if (next - at < em) return;
      pen.strokeStyle = colour("card");
      pen.lineWidth = 3;
      pen.strokeText(pick.phase, at + 0.25 * em, top + 0.9 * em);
      pen.fillText(pick.phase, at + 0.25 * em, top + 0.9 * em);
    });
  }

  /* Name of a station, its scale, and its newest pick: in the margin, or over the trace where there is none. */
  write(pen, em, colour, area, data, most, top, beside) {
    const font = pen.font, line = 1.15 * em, pick = this.newest(data.id), x = beside ? 0.8 * em : area.left;
    const silent = SILENT.has(data.state), lines = [[data.id, silent ? "bad" : "ink", "600 "]];
    const scale = most > 0 && !silent ? `±${counts(most)}` : data.state === "live" ? "" : data.state;
    if (this.tall > 3.1 * em) {
      lines.push([scale, "quiet", ""]);
      if (pick && this.tall > 4.2 * em) lines.push([`${pick.phase} ${clockOf(pick.time)}  ${pick.probability.toFixed(2)}`, pick.phase.toLowerCase(), ""]);
    }
    if (!beside) {
      pen.globalAlpha = 0.75;
      pen.fillStyle = colour("card");
      pen.fillRect(x, top + 1, Math.max(...lines.map(([text]) => pen.measureText(text).width)) + 0.8 * em, lines.length * line);
      pen.globalAlpha = 1;
    }
    const begin = beside ? top + (this.tall - lines.length * line) / 2 : top;
    lines.forEach(([text, name, weight], number) => {
      pen.font = weight + font;
      pen.fillStyle = colour(name);
      pen.fillText(text, x, begin + (number + 0.8) * line, beside ? area.left - 1.6 * em : undefined);
    });
    pen.font = font;
    if (lines.length > 1 || !beside) return;
    // One line: the scale at its end.
    pen.fillStyle = colour("quiet");
    pen.textAlign = "right";
    pen.globalAlpha = 0.9;
    pen.fillText(most > 0 && !silent ? `±${brief(most)}` : scale, area.left - 0.5 * em, begin + 0.8 * line);
    pen.globalAlpha = 1;
    pen.textAlign = "left";
  }

  tell() {
    const newest = this.order.slice(0, 3).map((id) => [id, this.newest(id)]).filter(([, pick]) => pick);
    const text = newest.map(([id, pick]) => `${id} ${pick.phase} ${clockOf(pick.time)}`).join(", ");
    const minutes = this.span_s / 60;
    this.canvas.setAttribute(
      "aria-label",
      `${this.order.length} stations, last ${minutes} min, 2 to 20 Hz, newest picks on top${text && `: ${text}`}`,
    );
    const since = this.since_s > this.now() - this.span_s && this.since_s < Infinity ? `; traces since ${new Date(this.since_s * 1000).toISOString().slice(11, 19)}` : "";
    write(this.note, `${this.order.length} station${this.order.length === 1 ? "" : "s"}, newest picks on top; vertical, 2–20 Hz, ± counts${since}`);
  }
}
