// The page: wires the list of channels, one connection at a time, and the panels around it.
//
// idle -> connecting -> playing <-> unstable -> lost -> connecting ... | idle (left) | locked (the service wants a token)
// A lost connection is tried again by itself after 1, 2, 4, 8, 8, ... seconds, until somebody leaves.
// What is recorded plays in state recorded, from where the timeline was clicked or at its growing end; that is also
// how a channel is watched whose media is stored, for nobody may connect to its device.

import { Channels } from "./channels.js";
import { Connection } from "./connection.js";
import { DataLog } from "./datalog.js";
import { Figures } from "./figures.js";
import { Recorded } from "./recorded.js";
import { Sampler } from "./stats.js";
import { Talk } from "./talk.js";
import { Timeline } from "./timeline.js";
import { isStored, loss, refusal } from "./troubles.js";
import { Waterfall } from "./waterfall.js";

const retryMaxMs = 8000;
const liveBehindMs = 3500; // how far behind the end of a recording its live edge is: a group of pictures, and the way here
const liveWithinMs = 12_000;
const welcome = { title: "Choose a channel to watch" };
const tokenKey = "heliograph-token";
const element = (id) => document.getElementById(id);

const video = element("video");
const figures = new Figures();
const waterfall = new Waterfall();
const log = new DataLog();
const talk = new Talk(notice);
const timeline = new Timeline({ token: () => token, onSeek: playRecorded, onLive: () => watch(channel), position });
const channels = new Channels({ token: () => token, onChoose: watch, onUnauthorized, onList: offerFirst });

let token = readToken();
let channel = "";          // the one chosen, whether it plays or not
let connection = null;
let recorded = null;       // what plays instead of a connection
let sampler = null;
let lastStats = null;
let retries = 0;
let retryTimer = null;

// What tests look at.
window.heliograph = {
  get peer() { return connection?.peer ?? null; },
  get state() { return element("screen").dataset.state; },
  get marks() { return connection?.marks ?? {}; },
  get stats() { return lastStats; },
  get log() { return log.entries; },
  get segments() { return timeline.segments; },
  get recordedTime() { return recorded?.time ?? null; },
};

// onUnauthorized is told again and again while the list is refreshed: a form that is open already stays as it is.
function onUnauthorized() {
  if (!connection && window.heliograph.state !== "locked") askToken();
}

// offerFirst puts a big button on the empty stage when there is a camera to watch.
function offerFirst(list) {
  if (channel || window.heliograph.state !== "idle") return;
  const online = list.find((entry) => entry.master);
  element("play").hidden = !online;
  if (!online) return;
  element("play").textContent = `Play ${online.name}`;
  element("play").dataset.channel = online.name;
}

// watch begins a channel by hand: it forgets earlier failures.
function watch(name) {
  retries = 0;
  notice("");
  if (name !== channel) figures.reset();
  timeline.setChannel(name);
  connect(name);
}

async function connect(name) {
  drop();
  channel = name;
  lastStats = null;
  remember(name);
  channels.setCurrent(name);
  const mine = new Connection(name, token, video);
  connection = mine;
  show("connecting", { title: "Connecting", text: name });
  mine.addEventListener("phase", () => waterfall.show(mine.marks));
  mine.addEventListener("state", () => { if (connection === mine) onState(mine); });
  mine.addEventListener("data", () => { if (connection === mine) log.setOpen(mine.data.readyState === "open"); });
  mine.addEventListener("text", ({ detail }) => log.received(detail));
  mine.addEventListener("slot", () => notice("The service gave this page's place away; the stream goes on. Reconnect to take a place again."));
  waterfall.show({});
  log.attach((text) => mine.sendText(text));
  startPlayback();
  try {
    await mine.open();
  } catch (error) {
    if (connection === mine) onRefused(error);
  }
}

function onState(mine) {
  switch (mine.state) {
    case "playing":
      if (!sampler) began(mine);
      show("playing");
      break;
    case "unstable":
      show("unstable", { title: "The connection is unsteady", text: "Waiting for it to come back." });
      break;
    case "lost":
      onTrouble(loss(mine.reason));
      break;
  }
}

function began(mine) {
  retries = 0;
  talk.attach(mine.audio.sender);
  sampler = new Sampler(mine.peer, (sample) => {
    lastStats = sample;
    figures.show(sample);
  });
  channels.refresh();
}

function onRefused(error) {
  if (error.name === "AbortError") return;
  if (error.status === 401) return askToken();
  if (isStored(error)) return onStored(error);
  onTrouble(refusal(error));
}

// onStored follows the growing end of the recording instead.
async function onStored(error) {
  const name = channel;
  await timeline.setChannel(name);
  if (name !== channel || recorded) return;
  if (timeline.end === null) return onTrouble(refusal(error));
  playRecorded(timeline.end - liveBehindMs, true);
}

async function playRecorded(atMs, live = false) {
  if (recorded?.seek(atMs)) {
    video.play().catch(() => {});
    return;
  }
  drop();
  const mine = new Recorded(timeline.stream, token, video, () => timeline.segments);
  recorded = mine;
  waterfall.show({});
  show("connecting", { title: "Loading the recording", text: channel });
  mine.addEventListener("playing", () => {
    if (recorded !== mine) return;
    retries = 0;
    show("recorded");
    startPlayback();
  });
  try {
    await mine.play(atMs, live);
  } catch (error) {
    if (recorded !== mine) return;
    if (error.status === 401) return askToken();
    onTrouble({ title: "The recording does not play", text: "Choose another time, or try again.", detail: error.message });
  }
}

// position is what the timeline shows.
function position() {
  if (!recorded) return { time: null, live: window.heliograph.state === "playing" };
  const { time } = recorded;
  return { time, live: time !== null && timeline.end !== null && timeline.end - time < liveWithinMs && Date.now() - timeline.end < liveWithinMs };
}

function onTrouble(trouble) {
  drop();
  show("lost", trouble);
  channels.refresh();
  if (!trouble.again) return;
  const waitMs = Math.min(1000 * 2 ** retries, retryMaxMs);
  retries += 1;
  retryTimer = setTimeout(() => connect(channel), waitMs);
  element("state").textContent = `trying again in ${waitMs / 1000} s`;
}

// drop ends the connection, but keeps the choice of the channel.
function drop() {
  clearTimeout(retryTimer);
  sampler?.stop();
  sampler = null;
  talk.attach(null);
  log.attach(null);
  const old = connection;
  connection = null;
  old?.close();
  recorded?.close();
  recorded = null;
}

function leave() {
  drop();
  waterfall.show({});
  figures.reset();
  notice("");
  channels.setCurrent("");
  timeline.setChannel("");
  show("idle", { title: "You have left", text: channel });
  channels.refresh();
}

// Sound needs a click on most pages; without one the stream starts silent and says so.
async function startPlayback() {
  try {
    await video.play();
  } catch (error) {
    if (error.name !== "NotAllowedError") return;
    video.muted = true;
    video.play().catch(() => {});
  }
  showSound();
}

function setMuted(muted) {
  video.muted = muted;
  video.play().catch(() => {});
  showSound();
}

function showSound() {
  const playing = ["playing", "recorded"].includes(window.heliograph.state);
  element("unmute").hidden = !(playing && video.muted);
  element("sound").setAttribute("aria-pressed", String(!video.muted));
  element("sound-icon").setAttribute("href", video.muted ? "#icon-muted" : "#icon-sound");
}

function show(state, { title = "", text = "", detail = "" } = {}) {
  const active = ["playing", "recorded", "unstable"].includes(state);
  element("screen").dataset.state = state;
  element("lamp").dataset.state = state;
  element("state").textContent = state;
  element("title").textContent = channel || "No channel";
  document.title = channel && active ? `${channel} · Heliograph` : "Heliograph";
  element("veil").hidden = state === "playing" || state === "recorded";
  element("veil-title").textContent = title;
  element("veil-text").textContent = text;
  element("veil-detail").textContent = detail;
  element("veil-detail").hidden = !detail;
  element("token-form").hidden = true;
  element("play").hidden = !channel || active || state === "connecting";
  element("play").textContent = state === "idle" ? "Play" : "Try again now";
  element("leave").hidden = state === "idle" || state === "locked";
  element("sound").disabled = element("full").disabled = !active;
  showSound();
}

function askToken() {
  drop();
  show("locked", refusal({ status: 401, message: token ? "The token given last was not accepted." : "" }));
  element("play").hidden = true;
  element("token-form").hidden = false;
  element("token").value = "";
  element("token").focus();
}

function notice(text) {
  element("notice").textContent = text;
  element("notice").hidden = !text;
}

function readToken() {
  try { return sessionStorage.getItem(tokenKey) ?? ""; } catch { return ""; } // storage may be forbidden
}

function remember(name) {
  const address = new URL(location.href);
  address.searchParams.set("channel", name);
  history.replaceState(null, "", address);
}

element("play").addEventListener("click", () => watch(channel || element("play").dataset.channel));
element("leave").addEventListener("click", leave);
element("unmute").addEventListener("click", () => setMuted(false));
element("sound").addEventListener("click", () => setMuted(!video.muted));
element("full").addEventListener("click", () => element("screen").requestFullscreen().catch(() => {}));
element("token-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  token = element("token").value.trim();
  try { sessionStorage.setItem(tokenKey, token); } catch { /* then it lasts as long as the page */ }
  if (!await channels.refresh()) return askToken();
  if (channel) watch(channel);
  else show("idle", welcome);
});
addEventListener("pagehide", drop);
addEventListener("pageshow", (event) => { if (event.persisted && channel) watch(channel); });

const linked = new URL(location.href).searchParams.get("channel");
await channels.refresh();
if (linked) watch(linked);
