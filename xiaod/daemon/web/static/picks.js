/* The latest picks, the newest above. */

const MOST_PICKS = 500;

class Picks {
  constructor(body, note, choose) {
    this.body = body;
    this.note = note;
    this.choose = choose;
    this.rows = new Map();
    this.list = [];
  }

  static station(pick) { return `${pick.network}.${pick.station}.${pick.location}.${pick.channel.slice(0, -1)}`; }

  /* Take in picks, in any order; those that are there already are left alone. Gives the new ones. */
  add(documents, live) {
    const fresh = documents.filter((pick) => !this.rows.has(pick.id));
    for (const document of fresh) {
      const pick = { ...document, seconds: secondsOf(document.time), at: Picks.station(document) };
      const row = this.row(pick);
      if (live) row.classList.add("new");
      this.rows.set(pick.id, row);
      const place = this.list.findIndex((other) => other.seconds <= pick.seconds);
      if (place < 0) {
        this.list.push(pick);
        this.body.append(row);
      } else {
        this.body.insertBefore(row, this.rows.get(this.list[place].id));
        this.list.splice(place, 0, pick);
      }
    }
    for (const pick of this.list.splice(MOST_PICKS)) {
      this.rows.get(pick.id).remove();
      this.rows.delete(pick.id);
    }
    write(this.note, this.list.length ? `${this.list.length} latest; automatic, unreviewed` : "none yet");
    return fresh;
  }

  row(pick) {
    const row = element("tr");
    const day = element("td", "mono", clockOf(pick.time));
    day.title = pick.time;
    const station = element("td"), button = element("button", "", `${pick.network}.${pick.station}.${pick.location}.${pick.channel}`);
    button.addEventListener("click", () => this.choose(pick.at));
    station.append(button);
    const number = (value, digits, name) => element("td", `number ${name}`, value === null || value === undefined ? "" : value.toFixed(digits));
    row.append(
      day, element("td", `phase ${pick.phase.toLowerCase()}`, pick.phase), station, number(pick.probability, 2, ""),
      number(pick.time_uncertainty_s, 2, "wide"), number(pick.snr, 1, "wide"), number(pick.latency_s, 1, "wide"),
    );
    return row;
  }
}
