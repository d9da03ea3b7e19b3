/* Small things that all parts of the page need. Texts from the network are set as text, never as markup: codes can hold anything. */

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

/* Set a text only where it has changed: with 500 stations most have not. */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function duration(seconds) {
  const size = Math.abs(seconds);
  if (size < 99.5) return `${seconds.toFixed(1)} s`;
  if (size < 5400) return `${Math.round(seconds / 60)} min`;
  if (size < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/* Seconds since 1970 of a time of the API. */
function secondsOf(time) { return Date.parse(time) / 1000; }

/* Month and day of a time of the API, where it is not of today, UTC. */
function dayOf(time) {
  return time.slice(0, 10) === new Date().toISOString().slice(0, 10) ? "" : `${time.slice(5, 10)} `;
}

function clockOf(time) { return time.slice(11, 22); }
