/* The last 24 h of one station, an hour in a line, as a drum recorder has it: the envelope in the band of onsets, and its final picks. */

const DAY_BINS = 43200;
const LINES = 24;
const LINE_S = 3600;
const DAY_PICKS = 2000;
const RENEW_S = 10;
/* A line is as high as this part of all peaks, so that a single event does not flatten the others; higher ones are cut. */
const FULL = 0.98;
const CUT = 1.4;

class Day {
  constructor(canvas, note, now) {
    Object.assign(this, { canvas, note, now });
    this.draw = drawing(canvas, () => this.paint());
    this.clear();
  }

  clear() {
    this.envelope = new Envelope(DAY_BINS);
    this.bin_s = 2;
    this.picks = [];
    this.trouble = "";
    this.renewed = 0;
  }

  /* Show a station, from now on. */
  async show(id) {
    if (this.id !== id) this.clear();
    this.id = id;
    if (!id || Date.now() - this.renewed < RENEW_S * 1000) return;
    this.renewed = Date.now();
    const query = `station=${encodeURIComponent(id)}`, since = new Date((this.now() - LINES * LINE_S) * 1000).toISOString();
    try {
      // An answer without data ends at 0.
      const asked = !this.envelope.stop ? "" : `&since=${this.envelope.stop - 1}`;
      const [told, { picks }] = await Promise.all([
        ask(`/api/day?${query}${asked}`), ask(`/api/picks?${query}&since=${since}&limit=${DAY_PICKS}`),
      ]);
      if (id !== this.id) return;
      this.bin_s = told.bin_s;
      this.envelope.put(told);
      this.picks = picks.map((pick) => ({ ...pick, seconds: secondsOf(pick.time) }));
      this.trouble = "";
    } catch (error) {
      if (id === this.id) this.trouble = error.message;
    }
    this.draw();
  }

  paint() {
    const sheet = sheetOf(this.canvas);
    if (!sheet) return;
    const { pen, em, wide, high, colour } = sheet;
    const area = { left: 3.6 * em, right: wide - 3.6 * em, top: 1.7 * em, bottom: high - 0.4 * em };
    const tall = (area.bottom - area.top) / LINES, last = Math.floor(this.now() / LINE_S), full = this.full();
    this.axis(pen, area, em, colour);
    for (let line = 0; line < LINES; line++) {
      const hour = last - LINES + 1 + line, middle = area.top + (line + 0.5) * tall;
      const x = (seconds) => area.left + ((seconds - hour * LINE_S) / LINE_S) * (area.right - area.left);
      const begin = Math.round((hour * LINE_S) / this.bin_s), stop = Math.round(((hour + 1) * LINE_S) / this.bin_s);
      pen.fillStyle = colour(hour % 2 ? "trace" : "other");
      paintEnvelope(pen, this.envelope, begin, stop, (bin) => x(bin * this.bin_s), middle, (value) => Math.min(value / full, CUT) * tall * 0.5);
      this.hours(pen, area, em, colour, hour, middle, tall, line);
      for (const pick of this.picks) {
        if (Math.floor(pick.seconds / LINE_S) !== hour) continue;
        pen.strokeStyle = colour(pick.phase.toLowerCase());
        pen.lineWidth = 2;
        pen.beginPath();
        pen.moveTo(x(pick.seconds), middle - tall * 0.5);
        pen.lineTo(x(pick.seconds), middle + tall * 0.5);
        pen.stroke();
      }
    }
    this.tell(full);
  }

  /* The amplitude that fills a line. */
  full() {
    const known = this.envelope.ring.filter((value) => value >= 0).sort();
    return known.length ? known[Math.min(known.length - 1, Math.floor(known.length * FULL))] || 1 : 1;
  }

  axis(pen, area, em, colour) {
    const narrow = area.right - area.left < 34 * em;
    pen.strokeStyle = colour("line");
    pen.fillStyle = colour("quiet");
    pen.lineWidth = 1;
    for (let minute = 0; minute <= 60; minute += 10) {
      const x = area.left + (minute / 60) * (area.right - area.left);
      pen.beginPath();
      pen.moveTo(x, area.top);
      pen.lineTo(x, area.bottom);
      pen.stroke();
      if (minute % 60 === 0 || (narrow && minute % 20)) continue;
      pen.textAlign = "center";
      pen.fillText(`${minute} min`, x, area.top - 0.5 * em);
    }
    pen.textAlign = "right";
    pen.fillText("UTC", area.left - 0.6 * em, area.top - 0.5 * em);
    pen.textAlign = "left";
    if (area.right - area.left > 20 * em) pen.fillText("local", area.right + 0.6 * em, area.top - 0.5 * em);
  }

  /* Hour of a line, UTC and local, where lines are so high that it can be read. */
  hours(pen, area, em, colour, hour, middle, tall, line) {
    const every = Math.ceil(em / tall), date = new Date(hour * LINE_S * 1000);
    if (line % every) return;
    const pad = (value) => String(value).padStart(2, "0");
    pen.fillStyle = colour("quiet");
    pen.textAlign = "right";
    pen.fillText(`${pad(date.getUTCHours())}:00`, area.left - 0.6 * em, middle + 0.3 * em);
    pen.textAlign = "left";
    pen.fillText(`${pad(date.getHours())}:${pad(date.getMinutes())}`, area.right + 0.6 * em, middle + 0.3 * em);
  }

  tell(full) {
    const known = this.envelope.ring.reduce((sum, value) => sum + !Number.isNaN(value), 0);
    const some = known ? `vertical, 2–20 Hz, a line is ±${counts(full)} high; ${duration(known * this.bin_s)} of data, ${this.picks.length} picks` : "no data yet: they are kept from now on";
    write(this.note, this.trouble || some);
    this.canvas.setAttribute("aria-label", `Last 24 hours of ${this.id}: ${some}`);
  }
}
