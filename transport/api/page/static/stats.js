// getStats, once a second, boiled down to what a person reads. Rates are differences to the sample before.

const sampleEveryMs = 1000;

// Sampler calls onSample with figures until stop.
export class Sampler {
  #peer;
  #before = null;
  #timer;

  constructor(peer, onSample) {
    this.#peer = peer;
    const take = async () => {
      if (this.#peer.connectionState !== "connected") return;
      const report = await this.#peer.getStats();
      if (this.#timer !== null) onSample(this.#figures(report));
    };
    this.#timer = setInterval(take, sampleEveryMs);
    take();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #figures(report) {
    const all = [...report.values()];
    const video = all.find((s) => s.type === "inbound-rtp" && s.kind === "video") ?? {};
    const audio = all.find((s) => s.type === "inbound-rtp" && s.kind === "audio") ?? {};
    const talk = all.find((s) => s.type === "outbound-rtp" && s.kind === "audio") ?? {};
    const pair = selectedPair(report, all);
    const lost = (video.packetsLost ?? 0) + (audio.packetsLost ?? 0);
    const received = (video.packetsReceived ?? 0) + (audio.packetsReceived ?? 0);
    const figures = {
      at: video.timestamp ?? performance.timeOrigin + performance.now(),
      width: video.frameWidth ?? 0,
      height: video.frameHeight ?? 0,
      framesDecoded: video.framesDecoded ?? 0,
      framesDropped: video.framesDropped ?? 0,
      freezes: video.freezeCount ?? 0,
      jitter: video.jitter ?? null,
      videoPackets: video.packetsReceived ?? 0,
      audioPackets: audio.packetsReceived ?? 0,
      audioEnergy: audio.totalAudioEnergy ?? 0,
      talkPackets: talk.packetsSent ?? 0,
      bytes: (video.bytesReceived ?? 0) + (audio.bytesReceived ?? 0),
      lost,
      lossRatio: received + lost > 0 ? Math.max(0, lost) / (received + lost) : 0,
      videoCodec: codecName(report.get(video.codecId)),
      audioCodec: codecName(report.get(audio.codecId)),
      ...pair,
    };
    return this.#withRates(figures);
  }

  #withRates(now) {
    const before = this.#before;
    this.#before = now;
    const seconds = before ? (now.at - before.at) / 1000 : 0;
    now.bitrate = seconds > 0 ? ((now.bytes - before.bytes) * 8) / seconds : null;
    now.fps = seconds > 0 ? (now.framesDecoded - before.framesDecoded) / seconds : null;
    return now;
  }
}

function selectedPair(report, all) {
  const transport = all.find((s) => s.type === "transport" && s.selectedCandidatePairId);
  const pair = report.get(transport?.selectedCandidatePairId)
    ?? all.find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded"); // Firefox has no selectedCandidatePairId
  if (!pair) return { pair: "", protocol: "", rtt: null };
  const local = report.get(pair.localCandidateId);
  const remote = report.get(pair.remoteCandidateId);
  return {
    pair: `${local?.candidateType ?? "?"}/${remote?.candidateType ?? "?"}`,
    protocol: local?.relayProtocol ?? local?.protocol ?? "",
    rtt: pair.currentRoundTripTime ?? null,
  };
}

// codecName shows the H.264 profile too: it is the first thing to look at when a browser stays black.
function codecName(codec) {
  if (!codec) return "";
  const name = codec.mimeType.split("/")[1];
  const readable = { H264: "H.264", H265: "H.265", opus: "Opus" }[name] ?? name;
  const profile = /profile-level-id=([0-9a-f]+)/i.exec(codec.sdpFmtpLine ?? "");
  return profile ? `${readable} ${profile[1].toLowerCase()}` : readable;
}
