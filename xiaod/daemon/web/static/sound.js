/* A tone for each new pick, and a notification of the system, while that is switched on. */

const TONES_HZ = { P: 880, S: 587 };
const TONE_S = 0.25;
const PAUSE_S = 1;

class Sound {
  constructor(button) {
    this.button = button;
    this.played = 0;
    button.addEventListener("click", () => this.toggle());
  }

  get on() { return this.button.getAttribute("aria-pressed") === "true"; }

  /* A browser lets a page sound, and ask for notifications, only after somebody has clicked. */
  toggle() {
    this.button.setAttribute("aria-pressed", String(!this.on));
    this.context ??= new AudioContext();
    if (this.on) this.context.resume();
    if (this.on && globalThis.Notification?.permission === "default") Notification.requestPermission();
  }

  play(pick) {
    if (!this.on || Date.now() - this.played < PAUSE_S * 1000) return;
    this.played = Date.now();
    const { context } = this, tone = context.createOscillator(), volume = context.createGain(), begin = context.currentTime;
    tone.frequency.value = TONES_HZ[pick.phase] ?? TONES_HZ.P;
    volume.gain.setValueAtTime(0.2, begin);
    volume.gain.exponentialRampToValueAtTime(0.001, begin + TONE_S);
    tone.connect(volume).connect(context.destination);
    tone.start(begin);
    tone.stop(begin + TONE_S);
    if (document.hidden && globalThis.Notification?.permission === "granted") {
      new Notification(`${pick.phase} ${Picks.station(pick)}`, { body: `${pick.time}, probability ${pick.probability.toFixed(2)}, ${pick.stage}`, tag: "xiaod" });
    }
  }
}
