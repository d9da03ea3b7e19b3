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

/* Name and coordinates of a station, where they are known. */
function siteText(site) {
  if (!site) return "";
  const angle = (degrees, positive, negative) => `${Math.abs(degrees).toFixed(4)}° ${degrees < 0 ? negative : positive}`;
  const place = `${angle(site.latitude_deg, "N", "S")} ${angle(site.longitude_deg, "E", "W")}, ${Math.round(site.elevation_m)} m`;
  return site.name ? `${site.name}, ${place}` : place;
}

/* Seconds since 1970 of a time of the API. */
function secondsOf(time) { return Date.parse(time) / 1000; }

/* Month and day of a time of the API, where it is not of today, UTC. */
function dayOf(time) {
  return time.slice(0, 10) === new Date().toISOString().slice(0, 10) ? "" : `${time.slice(5, 10)} `;
}

function clockOf(time) { return time.slice(11, 22); }

/* An amplitude with its unit. */
function counts(value) { return `${value.toLocaleString("en", { maximumSignificantDigits: 3 })} counts`; }

/* Call when the scheme of colours has changed. */
function onScheme(draw) { matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw); }

/* How a canvas is drawn anew: with the next frame, once however often it is asked for, unless it is hidden. It does so by itself when the
   size or the scheme of colours changes. */
function drawing(canvas, paint) {
  let waiting = false;
  const draw = () => {
    if (waiting || !canvas.offsetHeight) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; paint(); });
  };
  new ResizeObserver(draw).observe(canvas);
  onScheme(draw);
  return draw;
}

/* A canvas made ready to be drawn on, in CSS pixels; null while it has no size. */
function sheetOf(canvas) {
  const box = canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  const width = Math.round(box.width * ratio), height = Math.round(box.height * ratio);
  if (!width || !height) return null;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const style = getComputedStyle(document.documentElement), pen = canvas.getContext("2d"), em = parseFloat(style.fontSize);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, box.width, box.height);
  pen.font = `${0.82 * em}px system-ui, sans-serif`;
  return { pen, em, wide: box.width, high: box.height, colour: (name) => style.getPropertyValue(`--${name}`).trim() };
}

/* An amplitude where there is little room: 1.2k. */
function brief(value) { return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 2 }).format(value).replace("K", "k"); }
