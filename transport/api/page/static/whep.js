// WHEP (draft-ietf-wish-whep) over fetch, no media in here:
// OPTIONS -> ICE servers; POST offer -> answer and Location; HEAD Location keeps the slot; DELETE Location gives it back.

const keepAliveEveryMs = 10_000; // the service takes a slot back that was not seen for 30 s
const detailCharsMax = 300;

// WhepError is a refusal of the service; status 0 means that it could not be reached.
export class WhepError extends Error {
  constructor(status, detail) {
    super(detail || `status ${status}`);
    this.name = "WhepError";
    this.status = status;
  }
}

// WhepSession is one viewer's place on one channel.
export class WhepSession {
  #url;
  #token;
  #location = null;
  #timer = null;

  constructor(channel, token) {
    this.#url = new URL(`whep/${encodeURIComponent(channel)}`, document.baseURI);
    this.#token = token;
  }

  // iceServers resolves to an RTCIceServer list; it is empty when the service offers none.
  async iceServers(signal) {
    const response = await this.#request(this.#url, { method: "OPTIONS", signal });
    return parseIceServers(response.headers.get("Link") ?? "");
  }

  // offer posts the SDP and resolves to the answer's.
  async offer(sdp, signal) {
    const response = await this.#request(this.#url, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", "Accept": "application/sdp" },
      body: sdp,
      signal,
    });
    const location = response.headers.get("Location");
    if (location) this.#location = new URL(location, this.#url);
    return response.text();
  }

  // keepAlive holds the slot until leave; onLost is told once when the service no longer knows the session.
  keepAlive(onLost) {
    if (!this.#location) return;
    this.#timer = setInterval(async () => {
      try {
        await this.#request(this.#location, { method: "HEAD" });
      } catch (error) {
        if (error.status !== 404) return; // the service is away: the stream needs it no more
        clearInterval(this.#timer);
        onLost();
      }
    }, keepAliveEveryMs);
  }

  // leave gives the slot back. It is allowed while the page goes away, hence keepalive.
  leave() {
    clearInterval(this.#timer);
    if (!this.#location) return;
    const location = this.#location;
    this.#location = null;
    fetch(location, { method: "DELETE", headers: this.#headers(), keepalive: true }).catch(() => {});
  }

  async #request(url, options) {
    let response;
    try {
      response = await fetch(url, { ...options, headers: this.#headers(options.headers), cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new WhepError(0, error.message);
    }
    if (response.ok) return response;
    throw new WhepError(response.status, (await response.text()).trim().slice(0, detailCharsMax));
  }

  #headers(more = {}) {
    return this.#token ? { ...more, Authorization: `Bearer ${this.#token}` } : more;
  }
}

// parseIceServers reads Link headers (RFC 8288) with rel="ice-server":
// <turn:host:3478?transport=udp>; rel="ice-server"; username="u"; credential="c"; credential-type="password"
export function parseIceServers(header) {
  const servers = [];
  for (const [, target, rest] of header.matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]+))*)/g)) {
    const parameters = {};
    for (const [, key, quoted, plain] of rest.matchAll(/;\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))/g)) {
      parameters[key.toLowerCase()] = plain ?? quoted.replace(/\\(.)/g, "$1");
    }
    if (parameters.rel !== "ice-server") continue;
    const server = { urls: target };
    if (parameters.username !== undefined) {
      server.username = parameters.username;
      server.credential = parameters.credential ?? "";
    }
    servers.push(server);
  }
  return servers;
}
