// One attempt to watch one channel, from the click to the last packet. The page makes a new one for each attempt.
//
// open(): ICE servers -> offer, gathered -> WHEP answer -> ICE -> DTLS -> first packet -> first frame
// Events: "phase" (a mark was set), "state" (connecting, playing, unstable, lost, closed), "text" (data channel),
// "data" (data channel opened or closed), "slot" (the service no longer holds our slot; media goes on).

import { WhepError, WhepSession } from "./whep.js";

const gatherMs = 500;       // WHEP has no way to trickle after the answer: what is known by then goes into the offer
const connectMs = 15_000;   // answer to connected
const unstableMs = 8_000;   // how long a connection may be "disconnected" before it counts as lost

// The steps of the waterfall, in order.
export const phases = [
  ["ice_servers", "ICE servers"],
  ["gather", "Candidates"],
  ["answer", "WHEP answer"],
  ["ice", "ICE"],
  ["dtls", "DTLS"],
  ["first_packet", "First packet"],
  ["first_frame", "First frame"],
];

export class Connection extends EventTarget {
  state = "connecting";
  marks = {};            // phase -> milliseconds since open()
  reason = "";           // why it was lost
  peer = null;
  audio = null;          // the audio transceiver; sendrecv from the start, so that talking needs no second offer
  data = null;

  #session;
  #video;
  #abort = new AbortController();
  #began = 0;
  #connectTimer = null;
  #unstableTimer = null;

  constructor(channel, token, video) {
    super();
    this.channel = channel;
    this.#session = new WhepSession(channel, token);
    this.#video = video;
    this.stream = new MediaStream();
    video.srcObject = this.stream; // at once, so that play() may be called within the visitor's click
  }

  // open resolves when the answer is applied; it throws a WhepError when the service refuses.
  async open() {
    this.#began = performance.now();
    const signal = this.#abort.signal;
    const iceServers = await this.#session.iceServers(signal);
    this.#mark("ice_servers");

    const peer = this.#makePeer(iceServers);
    await peer.setLocalDescription();
    await gathered(peer, signal);
    this.#mark("gather");

    let answer;
    try {
      answer = await this.#session.offer(peer.localDescription.sdp, signal);
      signal.throwIfAborted();
    } finally {
      if (signal.aborted) this.#session.leave(); // the place was given just as we left
    }
    this.#mark("answer");
    if (!/^m=\S+ [1-9]/m.test(answer)) { // every section rejected: the device says why (RFC 8866 5.4)
      throw new WhepError(502, answer.match(/^i=(.*?)\r?$/m)?.[1] ?? "The device refused the offer.");
    }
    this.#session.keepAlive(() => this.#tell("slot"));
    this.#connectTimer = setTimeout(() => this.#lose("no-path"), connectMs);
    try {
      await peer.setRemoteDescription({ type: "answer", sdp: answer });
    } catch (error) {
      throw new WhepError(502, `The answer was not understood: ${error.message}`);
    }
    signal.throwIfAborted();
  }

  // close ends everything and gives the slot back. It may be called at any time, more than once.
  close(state = "closed") {
    if (this.state === "closed" || this.state === "lost") return;
    this.#abort.abort();
    clearTimeout(this.#connectTimer);
    clearTimeout(this.#unstableTimer);
    this.#session.leave();
    this.peer?.close();
    if (this.#video.srcObject === this.stream) this.#video.srcObject = null;
    this.#become(state);
  }

  sendText(text) {
    if (this.data?.readyState !== "open") return false;
    this.data.send(text);
    return true;
  }

  #makePeer(iceServers) {
    const peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.peer = peer;
    peer.addEventListener("track", ({ track, receiver }) => this.#onTrack(track, receiver));
    peer.addEventListener("iceconnectionstatechange", () => {
      if (["connected", "completed"].includes(peer.iceConnectionState)) this.#mark("ice");
    });
    peer.addEventListener("connectionstatechange", () => this.#onConnectionState());

    peer.addTransceiver("video", { direction: "recvonly" });
    this.audio = peer.addTransceiver("audio", { direction: "sendrecv" });
    this.data = peer.createDataChannel("kvsDataChannel");
    for (const type of ["open", "close"]) this.data.addEventListener(type, () => this.#tell("data"));
    this.data.addEventListener("message", ({ data }) => this.#tell("text", data));
    return peer;
  }

  #onTrack(track, receiver) {
    this.stream.addTrack(track);
    receiver.transport?.addEventListener("statechange", () => {
      if (receiver.transport.state === "connected") this.#markDTLS();
      if (receiver.transport.state === "closed") this.#lose("ended"); // close_notify: the device said goodbye
    });
    if (track.kind !== "video") return;
    // A remote track is muted until its first packet arrives (W3C WebRTC 5.3).
    const firstPacket = () => {
      this.#markDTLS();
      this.#mark("first_packet");
    };
    track.addEventListener("unmute", firstPacket, { once: true });
    const firstFrame = () => {
      if (this.#video.srcObject !== this.stream) return;
      firstPacket();
      this.#mark("first_frame");
      this.#become("playing");
    };
    this.#video.requestVideoFrameCallback?.(firstFrame);
    this.#video.addEventListener("loadeddata", firstFrame, { once: true }); // a page in the background composes no frames
  }

  #onConnectionState() {
    clearTimeout(this.#unstableTimer);
    switch (this.peer.connectionState) {
      case "connected":
        clearTimeout(this.#connectTimer);
        this.#markDTLS();
        if (this.state === "unstable") this.#become("playing");
        break;
      case "disconnected":
        this.#become("unstable");
        this.#unstableTimer = setTimeout(() => this.#lose("silent"), unstableMs);
        break;
      case "failed":
        this.#lose(this.marks.dtls === undefined ? "no-path" : "silent");
        break;
    }
  }

  // Media runs over DTLS, and DTLS over the pair that ICE found: events that come in another order do not change that.
  #markDTLS() {
    this.#mark("ice");
    this.#mark("dtls");
  }

  #lose(reason) {
    if (this.state === "closed" || this.state === "lost") return;
    this.reason = reason;
    this.close("lost");
  }

  #become(state) {
    if (this.state === state || this.state === "closed" || this.state === "lost") return;
    this.state = state;
    this.#tell("state");
  }

  #mark(phase) {
    if (this.marks[phase] !== undefined) return;
    this.marks[phase] = performance.now() - this.#began;
    this.#tell("phase");
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// gathered resolves when all candidates are known, or after gatherMs.
function gathered(peer, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, gatherMs);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
    const check = () => {
      if (peer.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    };
    peer.addEventListener("icegatheringstatechange", check);
    check();
  });
}
