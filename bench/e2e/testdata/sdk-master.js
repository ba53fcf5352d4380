// A master as an application of the official SDK writes it: one RTCPeerConnection for each viewer, a painted canvas
// and a tone as its media. The test calls serve(config) and reads `sdk`.
"use strict";

const sdk = { offers: [], received: [], faults: [] };

// serve resolves to true when the channel is open.
function serve({ iceServers, iceTransportPolicy, credentials, clientId, ...config }) {
  const signaling = new KVSWebRTC.SignalingClient({ ...config, credentials, role: KVSWebRTC.Role.MASTER });
  const media = paintedMedia();
  const peers = new Map();
  const fault = (error) => sdk.faults.push(String(error?.message ?? error));

  signaling.on("sdpOffer", async (offer, viewer) => {
    sdk.offers.push(viewer);
    const peer = new RTCPeerConnection({ iceServers, iceTransportPolicy });
    peers.set(viewer, peer);
    peer.addEventListener("icecandidate", ({ candidate }) => { if (candidate) signaling.sendIceCandidate(candidate, viewer); });
    peer.addEventListener("datachannel", ({ channel }) => answerOn(channel));
    for (const track of media.getTracks()) peer.addTrack(track, media);
    try {
      await peer.setRemoteDescription(offer);
      await peer.setLocalDescription(await peer.createAnswer());
      signaling.sendSdpAnswer(peer.localDescription, viewer);
    } catch (error) {
      fault(error);
    }
  });
  signaling.on("iceCandidate", (candidate, viewer) => peers.get(viewer).addIceCandidate(candidate).catch(fault));
  signaling.on("statusResponse", (status) => fault(`${status.errorType}: ${status.description}`));
  signaling.on("error", fault);
  signaling.on("close", () => fault("the service closed the socket"));

  return new Promise((resolve) => {
    signaling.on("open", () => resolve(true));
    signaling.open();
  });
}

function answerOn(channel) {
  channel.addEventListener("message", ({ data }) => {
    sdk.received.push(data);
    channel.send(data === "ping" ? "pong" : data);
  });
}

// paintedMedia is a moving picture of 30 frames a second and a tone of 440 Hz.
function paintedMedia() {
  const canvas = document.querySelector("canvas");
  const context = canvas.getContext("2d");
  let frame = 0;
  setInterval(() => {
    const hue = (frame * 3) % 360;
    context.fillStyle = `hsl(${hue} 80% 50%)`;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = `hsl(${(hue + 180) % 360} 80% 30%)`;
    context.fillRect((frame++ * 7) % canvas.width, 60, 240, 240);
  }, 1000 / 30);
  const audio = new AudioContext();
  const tone = new OscillatorNode(audio, { frequency: 440 });
  const out = new MediaStreamAudioDestinationNode(audio);
  tone.connect(out);
  tone.start();
  return new MediaStream([...canvas.captureStream(30).getTracks(), ...out.stream.getTracks()]);
}
