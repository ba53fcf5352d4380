// Draws the marks of a connection as a waterfall: a row for each phase, from the end of the one before to its own.

import { phases } from "./connection.js";

const scaleMinMs = 200;

export class Waterfall {
  #rows = new Map();
  #axis = document.getElementById("axis");
  #total = document.getElementById("first-total");

  constructor() {
    const list = document.getElementById("waterfall");
    for (const [name, label] of phases) {
      const row = document.createElement("li");
      row.innerHTML = '<span class="phase"></span><span class="lane"><span class="span"></span></span><span class="took"></span>';
      row.querySelector(".phase").textContent = label;
      list.append(row);
      this.#rows.set(name, { row, bar: row.querySelector(".span"), took: row.querySelector(".took") });
    }
    this.show({});
  }

  show(marks) {
    const end = Math.max(0, ...Object.values(marks));
    const scale = niceScale(end);
    let from = 0;
    for (const [name] of phases) {
      const { row, bar, took } = this.#rows.get(name);
      const at = marks[name];
      row.classList.toggle("done", at !== undefined);
      if (at === undefined) {
        took.textContent = "";
        continue;
      }
      const to = Math.max(from, at);
      bar.style.setProperty("--from", from / scale);
      bar.style.setProperty("--width", (to - from) / scale);
      took.textContent = milliseconds(to - from);
      from = to;
    }
    this.#total.textContent = marks.first_frame === undefined ? "–" : milliseconds(marks.first_frame);
    this.#drawAxis(scale);
  }

  #drawAxis(scale) {
    const ticks = [0, 0.5, 1].map((part) => {
      const tick = document.createElement("span");
      tick.style.setProperty("--at", part);
      tick.textContent = part === 0 ? "0" : `${Math.round(part * scale)}`;
      return tick;
    });
    ticks.at(-1).textContent += " ms";
    this.#axis.replaceChildren(...ticks);
  }
}

// niceScale is the smallest 1, 2, 4 or 6 times a power of ten that holds the whole; quarters of it are round too.
function niceScale(ms) {
  if (ms <= scaleMinMs) return scaleMinMs;
  const power = 10 ** Math.floor(Math.log10(ms));
  return [1, 2, 4, 6, 10].map((step) => step * power).find((scale) => scale >= ms);
}

const milliseconds = (ms) => (ms < 9.95 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);
