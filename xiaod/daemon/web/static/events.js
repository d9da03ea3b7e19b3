/* The newest events, where the daemon makes any: one row each, whose announced version is replaced by the settled one, or struck through. */

const EVENTS_S = 5;
const SHOWN_EVENTS = 5;

class Events {
  constructor(box, body, changed) {
    this.box = box;
    this.body = body;
    this.changed = changed;
    this.located = [];
    this.timer = null;
  }

  /* Ask, and go on asking where events are made. */
  async load() {
    clearTimeout(this.timer);
    try {
      const { enabled, events } = await ask("/api/events?stage=all&limit=200");
      if (!enabled) return;
      this.show(events);
    } catch {
      // The store cannot be read now, as the banner says; or the connection is lost, and the page starts over.
    }
    this.timer = setTimeout(() => this.load(), EVENTS_S * 1000);
  }

  /* What is known of each event by now: of several versions the last one. */
  static standing(events) {
    const ended = new Set(events.map(({ early_id }) => early_id)), known = new Map();
    for (const event of events) {
      // A later version can have an earlier first P, and so comes before the others.
      if (event.stage === "early" && (ended.has(event.event_id) || known.get(event.event_id)?.version > event.version)) continue;
      known.set(event.event_id, event);
    }
    return [...known.values()].sort((a, b) => secondsOf(b.first_pick_time) - secondsOf(a.first_pick_time));
  }

  show(events) {
    const newest = Events.standing(events).slice(0, SHOWN_EVENTS), rows = newest.map((event) => Events.row(event));
    this.body.replaceChildren(...rows);
    this.box.hidden = !rows.length;
    this.located = newest.filter(({ origin, stage }) => origin && stage !== "withdrawn");
    this.changed();
  }

  /* Where and how large it was; or how far it was from a station; or nothing. */
  static about({ origin, magnitude, distances: [near] }) {
    if (origin) {
      const angle = (degrees, positive, negative) => `${Math.abs(degrees).toFixed(3)}° ${degrees < 0 ? negative : positive}`;
      const place = `${angle(origin.latitude, "N", "S")} ${angle(origin.longitude, "E", "W")}, ${Math.round(origin.depth_km)} km deep`;
      return magnitude ? `${magnitude.type} ${magnitude.value.toFixed(1)}, ${place}` : place;
    }
    return near ? `${Math.round(near.distance_km)} ± ${Math.round(near.uncertainty_km)} km from ${near.network}.${near.station}` : "";
  }

  static row(event) {
    const row = element("tr", event.stage), { origin, first_pick_time: first } = event, begun = origin ? origin.time : first;
    const time = element("td", "", dayOf(begun) + clockOf(begun)), place = element("td", "", Events.about(event));
    time.title = `${origin ? `${origin.time}: origin; ` : ""}${first}: first P; ${event.notice}`;
    if (origin) place.title = `± ${origin.horizontal_uncertainty_km} km; rms ${origin.rms_s} s, gap ${Math.round(origin.azimuthal_gap_deg)}°, ${event.picks.length} picks, layers ${origin.velocity_model}`;
    row.append(time, element("td", "", event.stage === "early" ? "announced" : event.stage === "final" ? "event" : "withdrawn"),
      element("td", "", String(event.stations)), place);
    return row;
  }
}
