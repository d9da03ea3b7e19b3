/* The map: stations with coordinates, by their state, where the newest picks are, and epicentres of the newest events. Degrees are of one length each way at its middle, so
   that a network keeps its shape; there is no background from elsewhere. */

const PICK_SHOWN_S = 120;
const KM_PER_DEGREE = 111.195;
const LEAST_DEGREES = 0.05;
/* Room for each station, in em squared, at which signs begin to shrink, and how small they get. */
const ROOM = 40;
const SMALLEST = 0.45;
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60];

/* The largest of 1, 2, 5, 10, 20 ... that is not above a value. */
function roundedDown(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([5, 2].find((step) => step * power <= value) ?? 1);
}

/* Longitudes that follow each other, though the date line lies between them. */
function unrolled(longitudes) {
  const sorted = [...longitudes].sort((a, b) => a - b), gaps = sorted.map((value, i) => (i ? value - sorted[i - 1] : value + 360 - sorted.at(-1)));
  const begin = sorted[gaps.indexOf(Math.max(...gaps))];
  return (value) => (value < begin ? value + 360 : value);
}

class StationMap {
  constructor(parts, entries, now, newest, choose, located) {
    Object.assign(this, parts, { entries, now, newest, choose, located });
    this.chosen = null;
    this.places = [];
    this.draw = drawing(this.canvas, () => this.paint());
    this.canvas.addEventListener("pointermove", (event) => this.point(this.at(event)));
    this.canvas.addEventListener("pointerleave", () => this.point(null));
    this.canvas.addEventListener("click", (event) => {
      const place = this.at(event);
      if (place) this.choose(place.id);
    });
  }

  /* The station nearest to the pointer, if one is near. */
  at({ offsetX, offsetY }) {
    const near = this.places.map((place) => [Math.hypot(place.x - offsetX, place.y - offsetY), place]).filter(([away]) => away < 1.3 * this.em);
    return near.sort(([a], [b]) => a - b)[0]?.[1] ?? null;
  }

  point(place) {
    this.canvas.style.cursor = place ? "pointer" : "";
    this.canvas.title = place ? `${place.ids.join(", ")}: ${siteText(place.site)}; ${place.state}` : "";
  }

  /* One place for the instruments of a station that stand together: its state is the worst of theirs. */
  gather() {
    const places = new Map();
    for (const { data } of this.entries.values()) {
      if (!data.site) continue;
      const { latitude_deg, longitude_deg } = data.site, name = data.id.split(".").slice(0, 2).join("."), key = `${name} ${latitude_deg} ${longitude_deg}`;
      const place = places.get(key) ?? { name, site: data.site, state: data.state, ids: [], id: data.id };
      if (ORDER.indexOf(data.state) < ORDER.indexOf(place.state)) place.state = data.state;
      const pick = this.newest(data.id);
      if (pick && !(place.pick?.seconds > pick.seconds)) Object.assign(place, { pick, id: data.id });
      place.ids.push(data.id);
      places.set(key, place);
    }
    return [...places.values()];
  }

  paint() {
    const sheet = sheetOf(this.canvas);
    if (!sheet) return;
    const { pen, em, wide, high, colour } = sheet;
    this.em = em;
    this.places = this.gather();
    this.tell();
    if (!this.places.length) return;
    const area = { left: 0.8 * em, right: wide - 0.8 * em, top: 0.4 * em, bottom: high - 2 * em };
    const room = ((area.right - area.left) * (area.bottom - area.top)) / em ** 2 / this.places.length;
    this.unit = em * Math.min(1, Math.max(SMALLEST, Math.sqrt(room / ROOM)));
    const frame = this.project(area, em);
    this.paintFrame(sheet, area, frame);
    pen.save();
    pen.beginPath();
    pen.rect(area.left, area.top, area.right - area.left, area.bottom - area.top);
    pen.clip();
    // Those with new picks are above others.
    const order = [...this.places].sort((a, b) => (a.pick?.seconds ?? -Infinity) - (b.pick?.seconds ?? -Infinity));
    for (const place of order) this.paintPick(sheet, place);
    for (const place of order) this.paintStation(sheet, place);
    // The newest event is above others.
    for (const event of [...this.located()].reverse()) this.paintEpicentre(sheet, event, frame);
    this.paintNames(sheet, area, order.reverse());
    pen.restore();
    this.paintScale(sheet, area, frame);
  }

  /* Put the places on the sheet; gives the way from degrees to it. */
  project(area, em) {
    const turn = unrolled(this.places.map(({ site }) => site.longitude_deg));
    const longitudes = this.places.map(({ site }) => turn(site.longitude_deg)), latitudes = this.places.map(({ site }) => site.latitude_deg);
    const span = (values) => [(Math.min(...values) + Math.max(...values)) / 2, Math.max(Math.max(...values) - Math.min(...values), LEAST_DEGREES)];
    const [middleX, spanX] = span(longitudes), [middleY, spanY] = span(latitudes), narrow = Math.max(Math.cos((middleY * Math.PI) / 180), 0.05);
    const margin = 3 * em, wide = area.right - area.left, high = area.bottom - area.top;
    const scale = Math.min((wide - 2 * margin) / (spanX * narrow), (high - 2 * margin) / spanY);
    const frame = {
      scale, narrow, turn,
      x: (longitude) => (area.left + area.right) / 2 + (longitude - middleX) * narrow * scale,
      y: (latitude) => (area.top + area.bottom) / 2 - (latitude - middleY) * scale,
      west: middleX - wide / 2 / scale / narrow, east: middleX + wide / 2 / scale / narrow,
      south: middleY - high / 2 / scale, north: middleY + high / 2 / scale,
    };
    this.places.forEach((place, i) => Object.assign(place, { x: frame.x(longitudes[i]), y: frame.y(latitudes[i]) }));
    return frame;
  }

  /* A frame with lines of whole degrees, or parts of them, and their names. */
  paintFrame({ pen, em, colour }, area, { scale, narrow, x, y, west, east, south, north }) {
    const step = (width) => STEPS.find((one) => one * width > 7 * em) ?? STEPS.at(-1);
    const stepX = step(scale * narrow), stepY = step(scale);
    /* Where degrees stand, which no name may cover. */
    this.written = [];
    const text = (value, size, letters) => `${Math.abs(value).toFixed(size < 0.1 ? 2 : size < 1 ? 1 : 0)}° ${letters[value < 0 ? 1 : 0]}`;
    pen.strokeStyle = colour("line");
    pen.fillStyle = colour("quiet");
    pen.lineWidth = 1;
    pen.beginPath();
    pen.rect(area.left, area.top, area.right - area.left, area.bottom - area.top);
    const line = (fromX, fromY, toX, toY) => { pen.moveTo(fromX, fromY); pen.lineTo(toX, toY); };
    for (let i = Math.ceil(west / stepX); i * stepX <= east; i++) {
      const at = x(i * stepX), value = ((i * stepX + 540) % 360) - 180;
      line(at, area.top, at, area.bottom);
      if (at < area.left + 2 * em || at > area.right - 2 * em) continue;
      pen.textAlign = "center";
      pen.fillText(text(value, stepX, "EW"), at, area.bottom + 1.2 * em);
    }
    for (let i = Math.ceil(Math.max(south, -90) / stepY); i * stepY <= Math.min(north, 90); i++) {
      const at = y(i * stepY);
      line(area.left, at, area.right, at);
      pen.textAlign = "left";
      if (at <= area.top + 1.2 * em) continue;
      const name = text(i * stepY, stepY, "NS"), left = area.left + 0.4 * em, bottom = at - 0.3 * em;
      pen.fillText(name, left, bottom);
      this.written.push([left, bottom - em, left + pen.measureText(name).width, bottom + 0.2 * em]);
    }
    pen.stroke();
  }

  /* A bar of round kilometres, valid at the middle. */
  paintScale({ pen, em, colour }, area, { scale }) {
    const km = roundedDown((0.25 * (area.right - area.left) * KM_PER_DEGREE) / scale), long = (km / KM_PER_DEGREE) * scale;
    const right = area.right - 0.8 * em, bottom = area.bottom - 0.8 * em, text = km >= 1 ? `${km} km` : `${Math.round(km * 1000)} m`;
    pen.globalAlpha = 0.85;
    pen.fillStyle = colour("card");
    pen.fillRect(right - long - 0.5 * em, bottom - 1.9 * em, long + em, 2.3 * em);
    pen.globalAlpha = 1;
    pen.strokeStyle = pen.fillStyle = colour("ink");
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(right - long, bottom - 0.4 * em);
    pen.lineTo(right - long, bottom);
    pen.lineTo(right, bottom);
    pen.lineTo(right, bottom - 0.4 * em);
    pen.stroke();
    pen.textAlign = "center";
    pen.fillText(text, right - long / 2, bottom - 0.6 * em);
    pen.textAlign = "left";
  }

  /* How new the pick of a place is: 1 now, 0 when it is shown no longer. */
  fresh({ pick }) { return pick ? Math.max(0, 1 - Math.max(0, this.now() - pick.seconds) / PICK_SHOWN_S) : 0; }

  /* A disc behind the station, which fades; a ring while the pick is early. */
  paintPick({ pen, colour }, place) {
    const fresh = this.fresh(place);
    if (!fresh) return;
    pen.fillStyle = pen.strokeStyle = colour(place.pick.phase.toLowerCase());
    pen.lineWidth = (2.5 * this.unit) / this.em;
    pen.beginPath();
    pen.arc(place.x, place.y, 1.25 * this.unit, 0, 2 * Math.PI);
    if (place.pick.stage === "final") {
      pen.globalAlpha = 0.15 + 0.6 * fresh;
      pen.fill();
    }
    pen.globalAlpha = 0.3 + 0.7 * fresh;
    pen.stroke();
    pen.globalAlpha = 1;
  }

  /* A triangle: full while data come, hollow while they do not. */
  paintStation({ pen, colour }, { x, y, state, ids }) {
    const half = 0.6 * this.unit, name = state === "live" ? "good" : SILENT.has(state) ? "bad" : "warn";
    pen.beginPath();
    pen.moveTo(x, y - half * 1.15);
    pen.lineTo(x + half, y + half * 0.75);
    pen.lineTo(x - half, y + half * 0.75);
    pen.closePath();
    pen.fillStyle = colour(state === "live" ? name : "card");
    pen.fill();
    pen.lineWidth = 4;
    if (ids.includes(this.chosen)) { pen.strokeStyle = colour("focus"); pen.stroke(); pen.fill(); }
    pen.lineWidth = (2 * this.unit) / this.em;
    pen.strokeStyle = colour(state === "live" ? "card" : name);
    pen.stroke();
  }

  /* A star with its magnitude: full once it is settled. */
  paintEpicentre({ pen, em, colour }, { stage, origin, magnitude }, { x, y, turn }) {
    const at = [x(turn(origin.longitude)), y(origin.latitude)], long = 0.9 * em, rays = 6;
    pen.beginPath();
    for (let i = 0; i < 2 * rays; i++) {
      const angle = (i * Math.PI) / rays, away = i % 2 ? 0.4 * long : long;
      pen.lineTo(at[0] + away * Math.sin(angle), at[1] - away * Math.cos(angle));
    }
    pen.closePath();
    pen.fillStyle = colour(stage === "final" ? "ink" : "card");
    pen.fill();
    pen.lineWidth = 2;
    pen.strokeStyle = colour(stage === "final" ? "card" : "ink");
    pen.stroke();
    if (!magnitude) return;
    const text = `${magnitude.type} ${magnitude.value.toFixed(1)}`;
    pen.strokeStyle = colour("card");
    pen.fillStyle = colour("ink");
    pen.lineWidth = 3;
    pen.strokeText(text, at[0] + 1.2 * long, at[1] + 0.35 * em);
    pen.fillText(text, at[0] + 1.2 * long, at[1] + 0.35 * em);
  }

  /* Names where they find room, the newest picks first; a pick with its time, if there is room for that too. */
  paintNames({ pen, em, colour }, area, order) {
    const font = pen.font, line = 1.05 * em;
    const taken = [...this.written, ...this.places.map((place) => { const half = (this.fresh(place) ? 1.2 : 0.55) * this.unit; return [place.x - half, place.y - half, place.x + half, place.y + half]; })];
    const free = (box) => box[0] >= area.left && box[2] <= area.right && box[1] >= area.top && box[3] <= area.bottom
      && taken.every((other) => box[2] <= other[0] || box[0] >= other[2] || box[3] <= other[1] || box[1] >= other[3]);
    for (const place of order) {
      const pick = this.fresh(place) ? place.pick : null, away = 0.25 * em + (pick ? 1.25 : 0.5) * this.unit, { x, y } = place;
      pen.font = `600 ${font}`;
      for (const lines of pick ? [[place.name, `${pick.phase} ${clockOf(pick.time).slice(0, 8)}`], [place.name]] : [[place.name]]) {
        const wide = Math.max(...lines.map((text) => pen.measureText(text).width)), high = lines.length * line;
        const corners = [[x + away, y - high / 2], [x - away - wide, y - high / 2], [x - wide / 2, y - away - high], [x - wide / 2, y + away]];
        const found = corners.map(([left, top]) => [left, top, left + wide, top + high]).find(free);
        if (!found) continue;
        taken.push([found[0] - 0.4 * em, found[1], found[2] + 0.4 * em, found[3]]);
        this.paintName(pen, colour, place, lines, found, line, font);
        break;
      }
      pen.font = font;
    }
  }

  paintName(pen, colour, place, lines, [left, top], line, font) {
    lines.forEach((text, number) => {
      pen.strokeStyle = colour("card");
      pen.fillStyle = colour(number ? place.pick.phase.toLowerCase() : "ink");
      pen.lineWidth = 3;
      pen.font = number || place.ids.includes(this.chosen) ? `600 ${font}` : font;
      pen.strokeText(text, left, top + (number + 0.82) * line);
      pen.fillText(text, left, top + (number + 0.82) * line);
    });
  }

  tell() {
    const all = new Set([...this.entries.keys()].map((id) => id.split(".").slice(0, 2).join("."))).size, shown = new Set(this.places.map(({ name }) => name)).size;
    const newest = this.places.filter((place) => this.fresh(place)).sort((a, b) => b.pick.seconds - a.pick.seconds);
    const text = shown ? `${shown} station${shown === 1 ? "" : "s"}${shown < all ? `; ${all - shown} without coordinates` : ""}; picks of the last ${PICK_SHOWN_S / 60} min` : "no coordinates are known: stations_file of the configuration gives them";
    write(this.note, text);
    this.canvas.setAttribute("aria-label", `Map of ${text}${newest.length ? `: ${newest.slice(0, 3).map(({ name, pick }) => `${name} ${pick.phase} ${clockOf(pick.time)}`).join(", ")}` : ""}`);
  }
}
