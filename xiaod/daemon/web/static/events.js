/* The newest events, where the daemon makes any: one row each, whose announced version is replaced by the settled one, or struck through. */

const EVENTS_S = 5;
const SHOWN_EVENTS = 5;

class Events {
  constructor(box, body) {
    this.box = box;
    this.body = body;
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
    const rows = Events.standing(events).slice(0, SHOWN_EVENTS).map((event) => Events.row(event));
    this.body.replaceChildren(...rows);
    this.box.hidden = !rows.length;
  }

  static row(event) {
    const row = element("tr", event.stage), [near] = event.distances;
    const away = near ? `${Math.round(near.distance_km)} ± ${Math.round(near.uncertainty_km)} km from ${near.network}.${near.station}` : "";
    const time = element("td", "", dayOf(event.first_pick_time) + clockOf(event.first_pick_time));
    time.title = `${event.first_pick_time}: first P; ${event.notice}`;
    row.append(time, element("td", "", event.stage === "early" ? "announced" : event.stage === "final" ? "event" : "withdrawn"),
      element("td", "", String(event.stations)), element("td", "", away));
    return row;
  }
}
