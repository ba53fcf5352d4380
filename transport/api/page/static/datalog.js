// The data-channel box: sends text, keeps the last messages of both directions, times ping -> pong.

const entriesMax = 200;

export class DataLog {
  entries = []; // {at, direction: "sent" | "received", text, rttMs?}

  #send = () => false;
  #pingAt = null;
  #list = document.getElementById("log");
  #input = document.getElementById("data-text");
  #buttons = [document.getElementById("data-send"), document.getElementById("data-ping")];
  #state = document.getElementById("data-state");

  constructor() {
    document.getElementById("data-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#input.value;
      if (text !== "" && this.#transmit(text)) this.#input.value = "";
    });
    document.getElementById("data-ping").addEventListener("click", () => this.#transmit("ping"));
  }

  // attach names who sends; detach with null.
  attach(send) {
    this.#send = send ?? (() => false);
    this.setOpen(false);
  }

  setOpen(open) {
    this.#state.textContent = open ? "open" : "closed";
    for (const control of [this.#input, ...this.#buttons]) control.disabled = !open;
  }

  received(data) {
    const text = typeof data === "string" ? data : `${data.byteLength ?? data.size} bytes`;
    const entry = { at: Date.now(), direction: "received", text };
    if (text === "pong" && this.#pingAt !== null) {
      entry.rttMs = performance.now() - this.#pingAt;
      this.#pingAt = null;
    }
    this.#add(entry);
  }

  #transmit(text) {
    const at = performance.now();
    if (!this.#send(text)) return false;
    if (text === "ping") this.#pingAt = at;
    this.#add({ at: Date.now(), direction: "sent", text });
    return true;
  }

  #add(entry) {
    this.entries.push(entry);
    if (this.entries.length > entriesMax) {
      this.entries.shift();
      this.#list.firstElementChild.remove();
    }
    const line = document.createElement("li");
    line.className = entry.direction;
    const part = (name, text) => {
      const span = document.createElement("span");
      span.className = name;
      span.textContent = text;
      return span;
    };
    line.append(
      part("when", new Date(entry.at).toLocaleTimeString("en-GB")),
      part("way", entry.direction === "sent" ? "sent" : "received"),
      part("text", entry.text),
    );
    if (entry.rttMs !== undefined) line.append(part("rtt", `${entry.rttMs.toFixed(1)} ms`));
    this.#list.append(line);
    this.#list.scrollTop = this.#list.scrollHeight;
  }
}
