// The conformance suite of the storage session's API: both operations through the official AWS SDK for
// JavaScript v3, their successes and each of their errors, one row each. Services, their credentials and
// channels come from the environment; the rows go to stdout as JSON, and the Go test judges them.
//
// normal serves as AWS does; limited lets one request of a kind through; denied has a key that may not join.
// A request on limited comes twice.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as control from "@aws-sdk/client-kinesis-video";
import * as storage from "@aws-sdk/client-kinesis-video-webrtc-storage";

const { region, normal, limited, denied, stored, empty, plain } = JSON.parse(process.env.HELIOGRAPH_SERVICES);
const options = (s, endpoint = s.endpoint) => ({ region, endpoint, credentials: s.credentials, maxAttempts: 1 });

// A client finds the endpoint as it does on AWS.
const answer = await new control.KinesisVideoClient(options(normal)).send(new control.GetSignalingChannelEndpointCommand({
  ChannelARN: stored, SingleMasterChannelEndpointConfiguration: { Protocols: ["WEBRTC"], Role: "MASTER" },
}));
const clients = new Map([limited, denied].map((s) => [s, new storage.KinesisVideoWebRTCStorageClient(options(s))]));
clients.set(normal, new storage.KinesisVideoWebRTCStorageClient(options(normal, answer.ResourceEndpointList[0].ResourceEndpoint)));
const send = (s, operation, input) => clients.get(s).send(new storage[`${operation}Command`](input));

const rows = [];
// row runs one call. want is "ok" or the exception.
async function row(operation, name, want, call) {
  let got = "ok", status = 200, detail = "";
  try {
    const out = await call();
    status = out.$metadata.httpStatusCode;
    if (!out.$metadata.requestId) got = "no request id";
    else if (Object.keys(out).some((key) => key !== "$metadata")) [got, detail] = ["unexpected output", JSON.stringify(out)];
  } catch (error) {
    [got, status, detail] = [error.name, error.$metadata?.httpStatusCode ?? 0, error.message];
    if (want !== "ok" && (!error.message || error.message === "UnknownError")) got = `${got} without a message`;
  }
  rows.push({ operation, name, want, got, status, detail });
}
const ok = (operation, name, input) => row(operation, name, "ok", () => send(normal, operation, input));
const fails = (operation, name, want, input, s = normal) => row(operation, name, want, () => send(s, operation, input));
const notFound = "ResourceNotFoundException", invalid = "InvalidArgumentException", tooMany = "ClientLimitExceededException";

const master = "JoinStorageSession", viewer = "JoinStorageSessionAsViewer";
await ok(master, "as the master", { channelArn: stored });
await ok(master, "again", { channelArn: stored });
for (const clientId of ["v1", "v2", "v3"]) await ok(viewer, `viewer ${clientId}`, { channelArn: stored, clientId });
await ok(viewer, "again", { channelArn: stored, clientId: "v2" });
await fails(viewer, "fourth viewer", tooMany, { channelArn: stored, clientId: "v4" });
await fails(viewer, "not connected", invalid, { channelArn: stored, clientId: "nobody" });
await fails(viewer, "no client id", invalid, { channelArn: stored });
await fails(viewer, "client id", invalid, { channelArn: stored, clientId: "a b" });
await fails(viewer, "reserved client id", invalid, { channelArn: stored, clientId: "AWS_v" });
await fails(master, "not connected", invalid, { channelArn: empty });
for (const [operation, more] of [[master, {}], [viewer, { clientId: "v1" }]]) {
  await fails(operation, "not mapped", invalid, { ...more, channelArn: plain });
  await fails(operation, "no such channel", notFound, { ...more, channelArn: `${stored}0` });
  await fails(operation, "no ARN of ours", invalid, { ...more, channelArn: "arn:aws:s3:::bucket" });
  await fails(operation, "no channel", invalid, more);
  await fails(operation, "no permission", "AccessDeniedException", { ...more, channelArn: stored }, denied);
  await row(operation, "too many requests", tooMany, async () => {
    await send(limited, operation, { ...more, channelArn: stored }).catch((error) => { if (error.name !== notFound) throw error; });
    return send(limited, operation, { ...more, channelArn: stored });
  });
}

// What the SDK's own documentation says that each operation may raise.
const root = dirname(createRequire(import.meta.url).resolve("@aws-sdk/client-kinesis-video-webrtc-storage"));
const raises = {};
for (const operation of [master, viewer]) {
  const text = readFileSync(join(root, "..", "dist-types", "commands", `${operation}Command.d.ts`), "utf8");
  raises[operation] = [...text.matchAll(/@throws \{@link (\w+Exception)\}/g)].map((m) => m[1]).filter((name) => !name.endsWith("ServiceException"));
}
console.log(JSON.stringify({ rows, raises }));
