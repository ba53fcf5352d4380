// The talk button: microphone -> the connection's audio sender. A click switches, a longer press is push-to-talk.

const holdMs = 350;

export class Talk {
  #button = document.getElementById("talk");
  #label = document.getElementById("talk-label");
  #meter = document.getElementById("meter").firstElementChild;
  #onError;
  #sender = null;
  #stream = null;
  #context = null;
  #wanted = false;
  #pressedAt = 0;

  // onError is told with the text for the visitor.
  constructor(onError) {
    this.#onError = onError;
    const button = this.#button;
    button.addEventListener("pointerdown", () => {
      this.#pressedAt = this.#wanted ? 0 : performance.now();
      if (this.#pressedAt) this.#set(true);
    });
    // On the window: the finger may have left the button.
    const released = () => {
      const heldMs = this.#pressedAt ? performance.now() - this.#pressedAt : 0;
      if (heldMs > holdMs) this.#set(false);
    };
    addEventListener("pointerup", released);
    addEventListener("pointercancel", released);
    button.addEventListener("click", (event) => {
      const byPointer = event.detail > 0 && this.#pressedAt !== 0;
      this.#pressedAt = 0;
      if (!byPointer) this.#set(!this.#wanted); // keyboard, or the click that ends it
    });
  }

  // attach names the sender to speak through; null when there is no connection.
  attach(sender) {
    this.#set(false);
    this.#sender = sender;
    this.#button.disabled = !sender;
  }

  async #set(on) {
    if (this.#wanted === on) return;
    this.#wanted = on;
    this.#show();
    if (!on) return this.#stop();
    try {
      await this.#start();
    } catch (error) {
      this.#wanted = false;
      this.#stop();
      this.#show();
      this.#onError(explain(error));
    }
  }

  async #start() {
    if (!navigator.mediaDevices) throw new DOMException("insecure origin", "SecurityError");
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
    if (!this.#wanted || this.#stream) return stream.getTracks().forEach((track) => track.stop()); // let go while the browser asked
    this.#stream = stream;
    await this.#sender.replaceTrack(stream.getAudioTracks()[0]);
    this.#onError("");
    this.#watchLevel(stream);
  }

  #stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#context?.close();
    this.#context = null;
    this.#sender?.replaceTrack(null).catch(() => {}); // the peer connection may be closed already
  }

  #watchLevel(stream) {
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 512;
    context.createMediaStreamSource(stream).connect(analyser);
    this.#context = context;
    const samples = new Float32Array(analyser.fftSize);
    const draw = () => {
      if (this.#context !== context) return this.#meter.style.setProperty("--level", 0);
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, s) => sum + s * s, 0) / samples.length;
      const decibels = 10 * Math.log10(power + 1e-9);
      this.#meter.style.setProperty("--level", Math.min(1, Math.max(0, (decibels + 60) / 55)).toFixed(3));
      requestAnimationFrame(draw);
    };
    draw();
  }

  #show() {
    this.#button.setAttribute("aria-pressed", String(this.#wanted));
    this.#label.textContent = this.#wanted ? "Talking" : "Talk";
  }
}

function explain(error) {
  switch (error.name) {
    case "NotAllowedError":
      return "The browser may not use the microphone. Allow it in the address bar, then press Talk again.";
    case "NotFoundError":
      return "No microphone was found. Plug one in, then press Talk again.";
    case "SecurityError":
      return "Browsers give the microphone only to localhost and HTTPS pages. Open this page over HTTPS.";
    default:
      return `The microphone could not be used (${error.name}).`;
  }
}
