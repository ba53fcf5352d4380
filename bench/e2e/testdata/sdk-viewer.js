// A viewer as an application of the official SDK writes it: KVSWebRTC.SignalingClient on one side, the browser's
// RTCPeerConnection on the other. The test calls watch(config) and reads `sdk`.
"use strict";

const sdk = { playing: false, received: [], faults: [], measure: async () => null };

// watch resolves to true when the offer was sent.
function watch({ iceServers, iceTransportPolicy, credentials, ...config }) {
  const signaling = new KVSWebRTC.SignalingClient({ ...config, credentials, role: KVSWebRTC.Role.VIEWER });
  const peer = new RTCPeerConnection({ iceServers, iceTransportPolicy });
  const video = document.querySelector("video");
  const stream = new MediaStream();
  video.srcObject = stream;
  video.requestVideoFrameCallback(() => { sdk.playing = true; });
  peer.addEventListener("track", ({ track }) => stream.addTrack(track));
  peer.addTransceiver("video", { direction: "recvonly" });
  peer.addTransceiver("audio", { direction: "recvonly" });

  const data = peer.createDataChannel("kvsDataChannel");
  data.addEventListener("open", () => data.send("ping"));
  data.addEventListener("message", (event) => sdk.received.push(event.data));

  const fault = (error) => sdk.faults.push(String(error?.message ?? error));
  peer.addEventListener("icecandidate", ({ candidate }) => { if (candidate) signaling.sendIceCandidate(candidate); });
  signaling.on("sdpAnswer", (answer) => peer.setRemoteDescription(answer).catch(fault));
  signaling.on("iceCandidate", (candidate) => peer.addIceCandidate(candidate).catch(fault));
  signaling.on("statusResponse", (status) => fault(`${status.errorType}: ${status.description}`));
  signaling.on("error", fault);
  signaling.on("close", () => { if (!sdk.playing) fault("the service closed the socket"); });

  sdk.measure = async () => figures([...(await peer.getStats()).values()]);

  return new Promise((resolve) => {
    signaling.on("open", async () => {
      await peer.setLocalDescription(await peer.createOffer());
      signaling.sendSdpOffer(peer.localDescription);
      resolve(true);
    });
    signaling.open();
  });
}

function figures(report) {
  const inbound = (kind) => report.find((s) => s.type === "inbound-rtp" && s.kind === kind) ?? {};
  const [video, audio] = [inbound("video"), inbound("audio")];
  const transport = report.find((s) => s.type === "transport") ?? {};
  const pair = report.find((s) => s.id === transport.selectedCandidatePairId) ?? {};
  const kindOf = (id) => report.find((s) => s.id === id)?.candidateType ?? "?";
  return {
    width: video.frameWidth ?? 0, height: video.frameHeight ?? 0,
    framesDecoded: video.framesDecoded ?? 0, framesDropped: video.framesDropped ?? 0,
    audioPackets: audio.packetsReceived ?? 0, audioEnergy: audio.totalAudioEnergy ?? 0, talkPackets: 0,
    lost: (video.packetsLost ?? 0) + (audio.packetsLost ?? 0),
    pair: `${kindOf(pair.localCandidateId)}/${kindOf(pair.remoteCandidateId)}`,
    videoCodec: report.find((s) => s.id === video.codecId)?.mimeType ?? "",
  };
}
