// Plays what is recorded of a stream: spans of fragmented MP4, fetched ahead of the playhead into a MediaSource.
//
// Flow: find where the time asked for is recorded -> fetch a short span, so that the picture comes soon -> fetch on
// from where it ended, a few seconds ahead -> at the end of the recording wait until the timeline has grown. A gap is
// stepped over; its length is in the times, for media time counts from the first span's beginning.

const firstSpanMs = 4000;
const spanMs = 15_000;
const aheadS = 20;    // what is fetched before it is needed
const behindS = 30;   // what is kept for going back
const catchUpS = 8;   // live, and this much waits to be shown: go on from near its end
const liveAheadS = 3;
const tickMs = 200;
const edgeS = 0.25;   // this near to the end of what is buffered, the gap behind it is stepped over

export class Recorded extends EventTarget {
  #video;
  #url;
  #token;
  #segments;
  #abort = new AbortController();
  #base = null;       // wall time of media time zero, in ms
  #buffer = null;
  #objectURL = "";
  #ticker = null;
  #live = false;

  // segments returns what the timeline knows: [{start, end}] in ms since the epoch, in order.
  constructor(stream, token, video, segments) {
    super();
    this.#video = video;
    this.#url = new URL(`recordings/${encodeURIComponent(stream)}/span.mp4`, document.baseURI);
    this.#token = token;
    this.#segments = segments;
  }

  // time is the wall time of the picture that is shown, in ms; null before there is one.
  get time() {
    return this.#base === null ? null : this.#base + this.#video.currentTime * 1000;
  }

  // play runs until close; it rejects when it cannot go on. "playing" is told once there is a picture. live: it stays near
  // the end of the recording, until somebody seeks.
  async play(atMs, live) {
    this.#live = live;
    const { signal } = this.#abort;
    try {
      const source = new MediaSource();
      const opened = once(source, "sourceopen", signal);
      this.#objectURL = URL.createObjectURL(source);
      this.#video.srcObject = null;
      this.#video.src = this.#objectURL;
      await opened;
      this.#ticker = setInterval(() => { this.#stepOverGap(); this.#catchUp(); }, tickMs);
      let cursor = atMs;
      for (;;) {
        const from = this.#recordedFrom(cursor);
        if (from === null || this.#ahead() > aheadS) {
          await rest(tickMs, signal);
          continue;
        }
        cursor = await this.#fetch(source, from, this.#base === null ? firstSpanMs : spanMs, signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  // close may be called at any time, more than once.
  close() {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    clearInterval(this.#ticker);
    if (this.#objectURL && this.#video.src === this.#objectURL) {
      this.#video.removeAttribute("src");
      this.#video.load();
    }
    URL.revokeObjectURL(this.#objectURL);
  }

  // seek moves within what is buffered, and tells whether it could.
  seek(atMs) {
    if (this.#base === null) return false;
    const at = (atMs - this.#base) / 1000;
    if (!ranges(this.#video.buffered).some(({ start, end }) => at >= start && at < end - edgeS)) return false;
    this.#live = false;
    this.#video.currentTime = at;
    return true;
  }

  // recordedFrom is the time from which to fetch; null: nothing is recorded there yet.
  #recordedFrom(cursor) {
    const next = this.#segments().find(({ end }) => end > cursor);
    return next ? Math.max(next.start, cursor) : null;
  }

  // fetch appends a span and returns when it ends.
  async #fetch(source, from, lengthMs, signal) {
    const url = new URL(this.#url);
    url.searchParams.set("from", new Date(from).toISOString());
    url.searchParams.set("to", new Date(from + lengthMs).toISOString());
    const response = await fetch(url, { signal, cache: "no-store", headers: this.#token ? { Authorization: `Bearer ${this.#token}` } : {} });
    if (!response.ok) throw Object.assign(new Error((await response.text()).trim()), { status: response.status });
    const start = Date.parse(response.headers.get("Span-Start"));
    const end = Date.parse(response.headers.get("Span-End"));
    const data = await response.arrayBuffer();
    signal.throwIfAborted();
    const first = this.#base === null;
    if (first) {
      this.#buffer = source.addSourceBuffer(response.headers.get("Content-Type"));
      this.#base = start;
    }
    this.#buffer.timestampOffset = (start - this.#base) / 1000;
    await this.#change(() => this.#buffer.appendBuffer(data), signal);
    if (first) {
      source.duration = Infinity; // it may grow
      this.#video.currentTime = Math.max(0, (from - start) / 1000);
      this.dispatchEvent(new Event("playing"));
    }
    const past = this.#video.currentTime - behindS;
    if (past > 0) await this.#change(() => this.#buffer.remove(0, past), signal);
    return Math.max(end, from + 1);
  }

  async #change(begin, signal) {
    const done = once(this.#buffer, "updateend", signal);
    begin();
    await done;
    if (this.#video.error) throw new Error(this.#video.error.message);
  }

  #ahead() {
    const all = ranges(this.#video.buffered);
    return all.length ? all.at(-1).end - this.#video.currentTime : 0;
  }

  #catchUp() {
    if (this.#live && this.#ahead() > catchUpS) this.#video.currentTime = ranges(this.#video.buffered).at(-1).end - liveAheadS;
  }

  #stepOverGap() {
    const at = this.#video.currentTime;
    const all = ranges(this.#video.buffered);
    if (all.some(({ start, end }) => at >= start && at < end - edgeS)) return;
    const next = all.find(({ start }) => start > at);
    if (next) this.#video.currentTime = next.start + 0.01;
  }
}

function ranges(buffered) {
  return Array.from({ length: buffered.length }, (_, i) => ({ start: buffered.start(i), end: buffered.end(i) }));
}

function once(target, type, signal) {
  return new Promise((resolve, reject) => {
    target.addEventListener(type, resolve, { once: true, signal });
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function rest(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => { clearTimeout(timer); reject(signal.reason); };
    const timer = setTimeout(() => { signal.removeEventListener("abort", stop); resolve(); }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
