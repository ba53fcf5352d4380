// The timeline of what is recorded of a channel: bars for what is there, gaps between them, a playhead, and the edge
// at which recording goes on. It asks for what is new while the page is seen.

const refreshEveryMs = 1000;
const joinMs = 500;            // segments nearer than this are one bar
const liveWithinMs = 10_000;   // a recording that ended this lately goes on
const stepMs = 5000;           // arrow keys
const leapMs = 60_000;         // page keys
const hourMs = 3_600_000;
const spans = [["10 minutes", hourMs / 6], ["1 hour", hourMs], ["6 hours", 6 * hourMs], ["1 day", 24 * hourMs], ["1 week", 168 * hourMs]];
const downloadMaxMs = 6 * hourMs; // as the service allows
const shownMinMs = 60_000;
const ticksMax = 6;
const tickSteps = [5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400].map((s) => s * 1000);
const reasons = { start: "recording began", loss: "packets were lost", disk: "the disk was full", time: "the camera's clock jumped" };
const element = (id) => document.getElementById(id);

export class Timeline {
  #track = element("timeline");
  #token;
  #onSeek;
  #onLive;
  #position;
  #channel = "";
  #stream = "";
  #segments = [];      // {start, end, gap} in ms, in order
  #begins = 0;         // of the whole recording
  #window = 0;         // what is shown, in ms; 0: not chosen yet
  #shown = { from: 0, to: 1 };
  #dragging = null;    // the time under the pointer
  #busy = false;

  // token returns the bearer token; onSeek gets a time in ms; onLive wants the newest; position returns the time that is
  // shown and whether it follows the newest: {time, live}.
  constructor({ token, onSeek, onLive, position }) {
    this.#token = token;
    this.#onSeek = onSeek;
    this.#onLive = onLive;
    this.#position = position;
    for (const [label, ms] of spans) element("timeline-window").append(new Option(label, ms));
    element("timeline-window").addEventListener("change", ({ target }) => {
      this.#window = Number(target.value);
      this.#segments = [];
      this.refresh();
    });
    element("timeline-live").addEventListener("click", () => this.#onLive());
    for (const format of ["mp4", "mkv"]) element(`download-${format}`).addEventListener("click", (event) => this.#download(event, format));
    this.#track.addEventListener("pointerdown", (event) => this.#press(event));
    this.#track.addEventListener("pointermove", (event) => this.#drag(event));
    this.#track.addEventListener("pointerup", () => this.#release());
    this.#track.addEventListener("pointercancel", () => { this.#dragging = null; this.draw(); });
    this.#track.addEventListener("keydown", (event) => this.#key(event));
    setInterval(() => { if (!document.hidden) this.refresh(); }, refreshEveryMs);
    setInterval(() => { if (!document.hidden) this.draw(); }, 250);
  }

  get stream() { return this.#stream; }
  get segments() { return this.#segments; }
  get end() { return this.#segments.at(-1)?.end ?? null; }

  // setChannel resolves to whether the channel has a recording.
  async setChannel(name) {
    if (name !== this.#channel) {
      this.#channel = name;
      this.#stream = "";
      this.#segments = [];
      this.#window = 0;
      this.draw();
    }
    await this.refresh();
    return this.#stream !== "";
  }

  // refresh never throws: what could not be learnt is asked for again.
  async refresh() {
    if (!this.#channel || this.#busy) return;
    const channel = this.#channel;
    this.#busy = true;
    try {
      if (!this.#stream) {
        const [found] = (await this.#ask(`recordings?channel=${encodeURIComponent(channel)}`)).recordings;
        if (channel !== this.#channel || !found) return;
        this.#stream = found.stream;
        this.#begins = Date.parse(found.start);
        this.#choose(Date.parse(found.end) - this.#begins);
      }
      await this.#grow(channel);
    } catch { // the list of channels says that the service is away
    } finally {
      this.#busy = false;
      this.draw();
    }
  }

  // choose shows all of a recording, of a day at most.
  #choose(length) {
    if (!this.#window) this.#window = (spans.slice(0, 4).find(([, ms]) => ms >= length) ?? spans[3])[1];
    element("timeline-window").value = this.#window;
  }

  // grow asks for what is new: the newest segment may have grown, and others have come.
  async #grow(channel) {
    const known = this.#segments.at(-1);
    let from = known ? known.start : Date.now() - this.#window;
    for (;;) {
      const query = `?from=${encodeURIComponent(new Date(from).toISOString())}`;
      const found = await this.#ask(`recordings/${encodeURIComponent(this.#stream)}${query}`);
      if (channel !== this.#channel) return;
      const fresh = found.segments.map(({ start, end, gap }) => ({ start: Date.parse(start), end: Date.parse(end), gap }));
      if (fresh.length) this.#segments = [...this.#segments.filter(({ start }) => start < fresh[0].start), ...fresh];
      if (!found.more) return;
      from = fresh.at(-1).end;
    }
  }

  async #ask(path) {
    const token = this.#token();
    const response = await fetch(new URL(path, document.baseURI), { headers: token ? { Authorization: `Bearer ${token}` } : {}, cache: "no-store" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    return response.json();
  }

  draw() {
    element("recording").hidden = !this.#stream;
    if (!this.#stream) return;
    const to = Math.max(Date.now(), this.end ?? 0);
    if (this.#dragging === null) this.#shown = { from: Math.min(Math.max(to - this.#window, this.#begins), to - shownMinMs), to };
    const { time, live } = this.#position();
    this.#drawBars();
    this.#drawAxis();
    const at = this.#dragging ?? time;
    element("playhead").hidden = at === null;
    if (at !== null) element("playhead").style.setProperty("--at", Math.min(1, Math.max(0, this.#part(at))));
    const text = at === null ? "–" : clock(at);
    element("timeline-time").textContent = text;
    element("timeline-live").setAttribute("aria-pressed", String(live));
    const aria = { valuemin: this.#shown.from, valuemax: to, valuenow: at ?? to, valuetext: at === null ? "not playing" : live ? `${text}, live` : text };
    for (const [name, value] of Object.entries(aria)) this.#track.setAttribute(`aria-${name}`, typeof value === "number" ? Math.round(value / 1000) : value);
  }

  #part(ms) { return (ms - this.#shown.from) / (this.#shown.to - this.#shown.from); }

  #drawBars() {
    const bars = [];
    for (const { start, end, gap } of this.#segments) {
      const last = bars.at(-1);
      if (last && start - last.end < joinMs) last.end = end;
      else bars.push({ start, end, gap });
    }
    const recording = bars.length && Date.now() - bars.at(-1).end < liveWithinMs;
    const row = element("timeline-bars");
    while (row.children.length > bars.length) row.lastChild.remove();
    while (row.children.length < bars.length) row.append(document.createElement("span"));
    bars.forEach(({ start, end, gap }, i) => {
      const bar = row.children[i];
      const left = Math.max(0, this.#part(start));
      bar.style.setProperty("--from", left);
      bar.style.setProperty("--width", Math.max(0, Math.min(1, this.#part(end)) - left));
      bar.hidden = this.#part(end) <= 0;
      bar.classList.toggle("growing", Boolean(recording) && i === bars.length - 1);
      const before = bars[i - 1];
      bar.title = `${clock(start)} to ${clock(end)}` + (before ? `; ${lasting(start - before.end)} missing before: ${reasons[gap] ?? "unknown"}` : "");
    });
    element("timeline-said").textContent = summary(bars, recording);
  }

  #drawAxis() {
    const { from, to } = this.#shown;
    const step = tickSteps.find((ms) => (to - from) / ms <= ticksMax) ?? 86_400_000;
    const offset = new Date(from).getTimezoneOffset() * 60_000;
    const ticks = [];
    for (let at = Math.ceil((from - offset) / step) * step + offset; at < to; at += step) {
      const tick = document.createElement("span");
      tick.style.setProperty("--at", this.#part(at));
      tick.textContent = step >= 86_400_000 ? new Date(at).toLocaleDateString([], { day: "numeric", month: "short" })
        : new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...(step < 60_000 && { second: "2-digit" }) });
      if (this.#part(at) > 0.04 && this.#part(at) < 0.96) ticks.push(tick);
    }
    element("timeline-axis").replaceChildren(...ticks);
  }

  // Scrubbing.

  #press(event) {
    if (event.button) return;
    this.#track.setPointerCapture(event.pointerId);
    this.#dragging = this.#under(event);
    this.draw();
  }

  #drag(event) {
    if (this.#dragging === null) return;
    this.#dragging = this.#under(event);
    this.draw();
  }

  #release() {
    const at = this.#dragging;
    this.#dragging = null;
    if (at !== null) this.#seek(at);
  }

  #under(event) {
    const box = this.#track.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    return this.#shown.from + part * (this.#shown.to - this.#shown.from);
  }

  #key(event) {
    const moves = { ArrowLeft: -stepMs, ArrowDown: -stepMs, ArrowRight: stepMs, ArrowUp: stepMs, PageDown: -leapMs, PageUp: leapMs };
    const at = this.#position().time ?? this.end ?? Date.now();
    if (event.key === "Home") this.#seek(this.#segments[0]?.start ?? at);
    else if (event.key === "End") this.#onLive();
    else if (moves[event.key]) this.#seek(at + moves[event.key]);
    else return;
    event.preventDefault();
  }

  // seek goes to where something is recorded: behind the end is live.
  #seek(at) {
    const next = this.#segments.find(({ end }) => end > at);
    if (next) this.#onSeek(Math.max(next.start, at));
    else this.#onLive();
  }

  // download fetches what is shown. A link cannot carry a token: with one, the page holds the file meanwhile.
  async #download(event, format) {
    const from = new Date(Math.max(this.#shown.from, this.#begins, this.#shown.to - downloadMaxMs)).toISOString();
    const to = new Date(this.#shown.to).toISOString();
    const url = new URL(`recordings/${encodeURIComponent(this.#stream)}/span.${format}`, document.baseURI);
    url.search = new URLSearchParams({ from, to });
    const link = event.currentTarget;
    link.href = url;
    if (!this.#token()) return;
    event.preventDefault();
    const response = await fetch(url, { headers: { Authorization: `Bearer ${this.#token()}` } }).catch(() => null);
    if (!response?.ok) return;
    const saved = document.createElement("a");
    saved.href = URL.createObjectURL(await response.blob());
    saved.download = `${this.#stream}.${format}`;
    saved.click();
    setTimeout(() => URL.revokeObjectURL(saved.href), 60_000);
  }
}

function summary(bars, recording) {
  if (!bars.length) return "Nothing is recorded in the time shown";
  const gaps = bars.length - 1;
  const missing = bars.slice(1).reduce((sum, { start }, i) => sum + start - bars[i].end, 0);
  return (recording ? "Recording" : "Recorded") + (gaps ? `, ${gaps} ${gaps === 1 ? "gap" : "gaps"} of ${lasting(missing)}` : ", no gap");
}

function lasting(ms) {
  const s = Math.round(ms / 1000);
  if (s < 60) return ms < 9950 ? `${(ms / 1000).toFixed(1)} s` : `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

function clock(ms) {
  const at = new Date(ms);
  const today = at.toDateString() === new Date().toDateString();
  return (today ? "" : `${at.toLocaleDateString([], { day: "numeric", month: "short" })} `) + at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}
