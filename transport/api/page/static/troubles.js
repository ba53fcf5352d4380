// What went wrong, in words, each with the way out. again: the page tries once more by itself.

const byStatus = {
  0: { title: "The service cannot be reached", text: "Check that heliograph-server runs and that this page's address is its own.", again: true },
  400: { title: "The service did not accept the offer", text: "This is a fault of the page or the browser. Reload the page." },
  401: { title: "This service asks for a token", text: "It is the whep-token that the server was started with." },
  403: { title: "Not allowed from here", text: "Open the page under the address that the server printed; it refuses other names and origins." },
  404: { title: "No such channel", text: "It may have been deleted. Choose another from the list, or start a device with this channel's name." },
  409: { title: "The camera is offline", text: "No device is connected to this channel. Start one with heliograph-device and this channel's name.", again: true },
  415: { title: "The service did not accept the offer", text: "This is a fault of the page or the browser. Reload the page." },
  429: { title: "Too many attempts", text: "Wait a few seconds, then try again.", again: true },
  502: { title: "The device's answer was not usable", text: "Look at the device's log; its codecs may not suit this browser." },
  503: { title: "The service is busy", text: "It will be tried again.", again: true },
  504: { title: "The device does not answer", text: "It is connected to its channel, but sent no answer in time. Look at its log, or start it anew.", again: true },
};

// A full channel and a service in trouble are both 503, a full device and one with other codecs both 502; the
// words tell them apart.
const full = { title: "All places are taken", text: "A channel has ten viewers at most, a device may have fewer. A place becomes free as soon as one of them leaves.", again: true };

// So are an absent device and a channel whose media is stored.
const stored = { title: "This camera's stream is stored", text: "It is shown here as soon as something is recorded.", again: true };

// isStored tells that a channel is to be watched from its recording.
export const isStored = (error) => error.status === 409 && /stored/.test(error.message);

const byReason = {
  "no-path": { title: "No way to the device was found", text: "Signaling worked, media did not: UDP may be blocked. Allow UDP to the device, or TURN over TCP to the service.", again: true },
  "silent": { title: "The connection was lost", text: "Nothing came from the device for several seconds.", again: true },
  "ended": { title: "The device ended the stream", text: "It was stopped or is starting anew.", again: true },
};

// refusal explains a WhepError.
export function refusal(error) {
  if (isStored(error)) return stored;
  const known = (error.status === 503 || error.status === 502) && /full|taken/.test(error.message) ? full : byStatus[error.status];
  if (known) return { ...known, detail: error.status ? error.message : "" };
  if (error.status >= 500) return { title: "The service has a fault", text: "Look at its log.", detail: error.message, again: true };
  return { title: "It did not work", text: "", detail: error.message ?? String(error) };
}

// loss explains why a connection that had an answer ended.
export function loss(reason) {
  return byReason[reason] ?? byReason.silent;
}
