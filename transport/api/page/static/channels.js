// The list of channels, asked for every few seconds while the page is seen.

const refreshEveryMs = 4000;

export class Channels {
  #list = document.getElementById("channels");
  #empty = document.getElementById("channels-empty");
  #service = document.getElementById("service");
  #token;
  #onChoose;
  #onUnauthorized;
  #onList;
  #current = "";
  #known = [];

  // token returns the bearer token ("" for none); onChoose gets a channel's name; onUnauthorized is called on 401;
  // onList gets every fresh list.
  constructor({ token, onChoose, onUnauthorized, onList }) {
    this.#token = token;
    this.#onChoose = onChoose;
    this.#onUnauthorized = onUnauthorized;
    this.#onList = onList;
    setInterval(() => { if (!document.hidden) this.refresh(); }, refreshEveryMs);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.refresh(); });
  }

  setCurrent(name) {
    this.#current = name;
    this.#draw();
  }

  // refresh resolves to whether the list is fresh. It never throws: the page says what it could not learn.
  async refresh() {
    const token = this.#token();
    try {
      const response = await fetch(new URL("api/channels", document.baseURI), {
        headers: token ? { Authorization: `Bearer ${token}` } : {},
        cache: "no-store",
      });
      if (response.status === 401) {
        this.#service.textContent = "Access token needed";
        this.#onUnauthorized();
        return false;
      }
      if (!response.ok) throw new Error(`status ${response.status}`);
      this.#known = (await response.json()).channels ?? [];
      const online = this.#known.filter((channel) => channel.master).length;
      this.#service.textContent = `${online} of ${this.#known.length} ${this.#known.length === 1 ? "camera" : "cameras"} online`;
      this.#draw();
      this.#onList(this.#known);
      return true;
    } catch {
      this.#service.textContent = "Service unreachable, trying again";
      return false;
    }
  }

  #draw() {
    const focused = document.activeElement?.dataset?.channel;
    this.#empty.hidden = this.#known.length > 0;
    this.#list.replaceChildren(...this.#known.map((channel) => this.#item(channel)));
    if (focused !== undefined) this.#list.querySelector(`[data-channel="${CSS.escape(focused)}"]`)?.focus();
  }

  #item(channel) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.channel = channel.name;
    if (channel.name === this.#current) button.setAttribute("aria-current", "true");
    const part = (name, text) => {
      const span = document.createElement("span");
      span.className = name;
      span.textContent = text;
      button.append(span);
      return span;
    };
    part("lamp", "").dataset.state = channel.master ? "playing" : "idle";
    part("name", channel.name);
    part("seats", channel.master ? `${channel.viewers}/${channel.viewers_max} watching` : "offline");
    button.addEventListener("click", () => this.#onChoose(channel.name));
    item.append(button);
    return item;
  }
}
