// Shows the sampler's figures: numbers as text, bitrate and frame rate of the last minute as two small curves.

const historyMax = 60;
const element = (id) => document.getElementById(id);

export class Figures {
  #bitrate = new Trend(element("trend-bitrate"));
  #fps = new Trend(element("trend-fps"));

  show(figures) {
    this.#bitrate.add(figures.bitrate);
    this.#fps.add(figures.fps);
    const text = {
      bitrate: rate(figures.bitrate),
      fps: figures.fps === null ? "–" : `${figures.fps.toFixed(1)} fps`,
      resolution: figures.width ? `${figures.width} × ${figures.height}` : "–",
      codec: [figures.videoCodec, figures.audioCodec].filter(Boolean).join(" · ") || "–",
      loss: `${figures.lost} · ${(figures.lossRatio * 100).toFixed(2)} %`,
      jitter: figures.jitter === null ? "–" : `${(figures.jitter * 1000).toFixed(1)} ms`,
      rtt: figures.rtt === null ? "–" : `${(figures.rtt * 1000).toFixed(1)} ms`,
      pair: figures.pair ? `${figures.pair} · ${figures.protocol}` : "–",
      frames: `${figures.framesDecoded.toLocaleString("en")} · ${figures.framesDropped} dropped`,
      freezes: String(figures.freezes),
    };
    for (const [name, value] of Object.entries(text)) element(`fig-${name}`).textContent = value;
  }

  reset() {
    this.#bitrate.reset();
    this.#fps.reset();
    for (const output of document.querySelectorAll("[id^=fig-]")) output.textContent = "–";
  }
}

function rate(bitsPerSecond) {
  if (bitsPerSecond === null) return "–";
  if (bitsPerSecond >= 1e6) return `${(bitsPerSecond / 1e6).toFixed(2)} Mbit/s`;
  return `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

// Trend is one curve. It fills from the right, like a paper strip.
class Trend {
  #svg;
  #values = [];
  #line = path("spark-line");
  #area = path("spark-area");

  constructor(svg) {
    this.#svg = svg;
    svg.setAttribute("viewBox", `0 0 ${historyMax - 1} 100`);
    svg.append(this.#area, this.#line);
  }

  add(value) {
    if (value === null) return;
    this.#values.push(value);
    if (this.#values.length > historyMax) this.#values.shift();
    this.#draw();
  }

  reset() {
    this.#values = [];
    this.#draw();
  }

  #draw() {
    const top = Math.max(...this.#values, 1e-9) * 1.15; // from zero: a flat rate must look flat
    const first = historyMax - this.#values.length;
    const points = this.#values.map((value, i) => `${first + i},${(100 - (value / top) * 100).toFixed(1)}`);
    const curve = points.length > 1 ? `M${points.join("L")}` : "";
    this.#line.setAttribute("d", curve);
    this.#area.setAttribute("d", curve && `${curve}V100H${first}Z`);
  }
}

function path(name) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
  made.setAttribute("class", name);
  made.setAttribute("vector-effect", "non-scaling-stroke");
  return made;
}
