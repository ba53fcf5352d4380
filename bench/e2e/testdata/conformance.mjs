// The conformance suite: every operation of the control plane and of the signaling REST calls through
// the official AWS SDK for JavaScript v3, its success and each of its errors, one row each. Services and
// their credentials come from the environment; the rows go to stdout as JSON, and the Go test judges them.
//
// normal serves as AWS does, and denied is its other key, whose policy allows everything and denies it; limited lets one request of a kind through and holds one channel and one
// stream; slow leaves what was created in CREATING. A request on limited comes twice.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as control from "@aws-sdk/client-kinesis-video";
import * as signaling from "@aws-sdk/client-kinesis-video-signaling";

const { region, normal, denied, limited, slow, master } = JSON.parse(process.env.HELIOGRAPH_SERVICES);
const client = ({ KinesisVideoClient }, s) => new KinesisVideoClient({ region, endpoint: s.endpoint, credentials: s.credentials, maxAttempts: 1 });
const restClient = (s) => new signaling.KinesisVideoSignalingClient({ region, endpoint: s.endpoint, credentials: s.credentials, maxAttempts: 1 });
for (const s of [normal, denied, limited, slow]) Object.assign(s, { control: client(control, s), rest: restClient(s) });

const rest = ["GetIceServerConfig", "SendAlexaOfferToMaster"];
const asked = {}; // an input of each operation that has succeeded with the first key
const send = (s, operation, input) => {
  const from = rest.includes(operation) ? signaling : control;
  return (from === signaling ? s.rest : s.control).send(new from[`${operation}Command`](input));
};

const rows = [];
// row runs one call. want is "ok" or the exception; check judges the output of a success.
async function row(operation, name, want, call, check = () => true) {
  let got = "ok", status = 200, detail = "";
  try {
    const out = await call();
    status = out.$metadata.httpStatusCode;
    if (!out.$metadata.requestId) [got, detail] = ["no request id", ""];
    else if (!check(out)) [got, detail] = ["unexpected output", JSON.stringify({ ...out, $metadata: undefined })];
  } catch (error) {
    got = error.name;
    status = error.$metadata?.httpStatusCode ?? 0;
    detail = error.message;
  }
  rows.push({ operation, name, want, got, status, detail });
}
const ok = (operation, name, input, check) => {
  asked[operation] = input;
  return row(operation, name, "ok", () => send(normal, operation, input), check);
};
const fails = (operation, name, want, input, s = normal) => row(operation, name, want, () => send(s, operation, input));
const twice = (operation, input) =>
  row(operation, "too many requests", "ClientLimitExceededException", async () => {
    await send(limited, operation, input).catch((error) => { if (error.name !== "ResourceNotFoundException" && error.name !== "InvalidArgumentException" && error.name !== "VersionMismatchException") throw error; });
    return send(limited, operation, input);
  });

const channel = async (name, s = normal) => (await send(s, "CreateSignalingChannel", { ChannelName: name })).ChannelARN;
const stream = async (name, hours = 24, s = normal) => (await send(s, "CreateStream", { StreamName: name, DataRetentionInHours: hours })).StreamARN;
const channelVersion = async (ChannelARN) => (await send(normal, "DescribeSignalingChannel", { ChannelARN })).ChannelInfo.Version;
const streamVersion = async (StreamARN) => (await send(normal, "DescribeStream", { StreamARN })).StreamInfo.Version;

const cam = await channel("cam"), other = await channel("other");
const archive = await stream("archive"), second = await stream("second"), live = await stream("live", 0);
const noChannel = `${cam}0`, noStream = `${archive}0`, noARN = "arn:aws:s3:::bucket";
const slowChannel = await channel("slow", slow), slowStream = await stream("slow", 24, slow);
const tags = (n) => Array.from({ length: n }, (_, i) => ({ Key: `key-${i}`, Value: `value ${i}` }));
const tagMap = (n) => Object.fromEntries(tags(n).map((t) => [t.Key, t.Value]));
const version = "abcdefghij0123456789";
const media = (Status, StreamARN) => ({ Status, StreamARN });
const protocols = (...Protocols) => ({ Protocols, Role: "MASTER" });
const notFound = "ResourceNotFoundException", invalid = "InvalidArgumentException", inUse = "ResourceInUseException";
const tooManyTags = "TagsPerResourceExceededLimitException", mismatch = "VersionMismatchException", badFormat = "InvalidResourceFormatException";

// Channels.
await ok("CreateSignalingChannel", "with tags and a TTL", { ChannelName: "made", ChannelType: "SINGLE_MASTER", SingleMasterConfiguration: { MessageTtlSeconds: 5 }, Tags: tags(50) },
  (o) => /^arn:aws:kinesisvideo:[a-z0-9-]+:\d{12}:channel\/made\/\d{13}$/.test(o.ChannelARN));
await fails("CreateSignalingChannel", "name exists", inUse, { ChannelName: "cam" });
await fails("CreateSignalingChannel", "51 tags", tooManyTags, { ChannelName: "x", Tags: tags(51) });
for (const [name, input] of [["name", { ChannelName: "a b" }], ["long name", { ChannelName: "a".repeat(257) }], ["no name", {}], ["type", { ChannelName: "x", ChannelType: "NONE" }],
  ["short TTL", { ChannelName: "x", SingleMasterConfiguration: { MessageTtlSeconds: 4 } }], ["long TTL", { ChannelName: "x", SingleMasterConfiguration: { MessageTtlSeconds: 121 } }],
  ["tag key", { ChannelName: "x", Tags: [{ Key: "a*", Value: "" }] }]]) await fails("CreateSignalingChannel", `invalid ${name}`, invalid, input);
await twice("CreateSignalingChannel", { ChannelName: "only" });
await fails("CreateSignalingChannel", "one too many", "AccountChannelLimitExceededException", { ChannelName: "beyond" }, slow);

await ok("DescribeSignalingChannel", "by name", { ChannelName: "cam" }, ({ ChannelInfo: c }) => c.ChannelARN === cam && c.ChannelStatus === "ACTIVE" && c.ChannelType === "SINGLE_MASTER" &&
  Math.abs(Date.now() - c.CreationTime) < 60_000 && c.SingleMasterConfiguration.MessageTtlSeconds === 60 && /^[a-zA-Z0-9]{1,64}$/.test(c.Version));
await ok("DescribeSignalingChannel", "by ARN", { ChannelARN: cam }, (o) => o.ChannelInfo.ChannelName === "cam");
await row("DescribeSignalingChannel", "while it is created", "ok", () => send(slow, "DescribeSignalingChannel", { ChannelARN: slowChannel }), (o) => o.ChannelInfo.ChannelStatus === "CREATING");
await fails("DescribeSignalingChannel", "no such name", notFound, { ChannelName: "none" });
await fails("DescribeSignalingChannel", "neither name nor ARN", invalid, {});
await twice("DescribeSignalingChannel", { ChannelName: "only" });

await ok("ListSignalingChannels", "by prefix", { ChannelNameCondition: { ComparisonOperator: "BEGINS_WITH", ComparisonValue: "ca" } }, (o) => o.ChannelInfoList.length === 1 && !o.NextToken);
await row("ListSignalingChannels", "in pages of one", "ok", async () => {
  const first = await send(normal, "ListSignalingChannels", { MaxResults: 1 });
  return send(normal, "ListSignalingChannels", { MaxResults: 1, NextToken: first.NextToken });
}, (o) => o.ChannelInfoList[0].ChannelName === "made" && o.NextToken);
await fails("ListSignalingChannels", "MaxResults 0", invalid, { MaxResults: 0 });
await fails("ListSignalingChannels", "NextToken", invalid, { NextToken: "!" });
await twice("ListSignalingChannels", {});

const before = await channelVersion(cam);
await ok("UpdateSignalingChannel", "TTL", { ChannelARN: cam, CurrentVersion: before, SingleMasterConfiguration: { MessageTtlSeconds: 120 } });
await row("DescribeSignalingChannel", "after the update", "ok", () => send(normal, "DescribeSignalingChannel", { ChannelARN: cam }),
  ({ ChannelInfo: c }) => c.SingleMasterConfiguration.MessageTtlSeconds === 120 && c.Version !== before && c.ChannelStatus === "ACTIVE");
await fails("UpdateSignalingChannel", "old version", mismatch, { ChannelARN: cam, CurrentVersion: before });
await fails("UpdateSignalingChannel", "while it is created", inUse, { ChannelARN: slowChannel, CurrentVersion: version }, slow);
await fails("UpdateSignalingChannel", "no such channel", notFound, { ChannelARN: noChannel, CurrentVersion: version });
await fails("UpdateSignalingChannel", "no version", invalid, { ChannelARN: cam });
await twice("UpdateSignalingChannel", { ChannelARN: cam, CurrentVersion: version });

const endpoint = (ChannelARN, ...p) => ({ ChannelARN, SingleMasterChannelEndpointConfiguration: protocols(...p) });
await ok("GetSignalingChannelEndpoint", "WSS and HTTPS", endpoint(cam, "WSS", "HTTPS"), (o) => o.ResourceEndpointList.length === 2 &&
  o.ResourceEndpointList.every((e) => e.ResourceEndpoint.startsWith(`${e.Protocol.toLowerCase()}://`)));
await fails("GetSignalingChannelEndpoint", "WEBRTC without storage", invalid, endpoint(cam, "WEBRTC"));
await fails("GetSignalingChannelEndpoint", "protocol", invalid, endpoint(cam, "FTP"));
await fails("GetSignalingChannelEndpoint", "while it is created", inUse, endpoint(slowChannel, "WSS"), slow);
await fails("GetSignalingChannelEndpoint", "no such channel", notFound, endpoint(noChannel, "WSS"));
await twice("GetSignalingChannelEndpoint", endpoint(cam, "WSS"));

// Tags.
for (const [kind, ResourceARN] of [["channel", cam], ["stream", archive]]) {
  await ok("TagResource", kind, { ResourceARN, Tags: [{ Key: "a", Value: "1" }, { Key: "b", Value: "" }] });
  await ok("TagResource", `${kind}, over a value`, { ResourceARN, Tags: [{ Key: "a", Value: "2" }] });
  await ok("UntagResource", kind, { ResourceARN, TagKeyList: ["b", "never"] });
  await ok("ListTagsForResource", kind, { ResourceARN }, (o) => JSON.stringify(o.Tags) === '{"a":"2"}');
}
for (const [operation, input] of [["TagResource", { Tags: tags(1) }], ["UntagResource", { TagKeyList: ["a"] }], ["ListTagsForResource", {}]]) {
  await fails(operation, "no such channel", notFound, { ...input, ResourceARN: noChannel });
  await fails(operation, "no ARN of ours", invalid, { ...input, ResourceARN: noARN });
  await twice(operation, { ...input, ResourceARN: cam });
}
await fails("TagResource", "51st tag", tooManyTags, { ResourceARN: cam, Tags: tags(50) });
await fails("UntagResource", "no keys", invalid, { ResourceARN: cam, TagKeyList: [] });

// Media storage.
const storage = (ChannelARN, MediaStorageConfiguration) => ({ ChannelARN, MediaStorageConfiguration });
await ok("DescribeMediaStorageConfiguration", "never mapped", { ChannelARN: cam }, ({ MediaStorageConfiguration: m }) => m.Status === "DISABLED" && !m.StreamARN);
await fails("UpdateMediaStorageConfiguration", "no retention", "NoDataRetentionException", storage(cam, media("ENABLED", live)));
await fails("UpdateMediaStorageConfiguration", "no such stream", notFound, storage(cam, media("ENABLED", noStream)));
await fails("UpdateMediaStorageConfiguration", "no stream named", invalid, storage(cam, media("ENABLED")));
await ok("UpdateMediaStorageConfiguration", "enable", storage(cam, media("ENABLED", archive)));
await fails("UpdateMediaStorageConfiguration", "second stream", inUse, storage(cam, media("ENABLED", second)));
await fails("UpdateMediaStorageConfiguration", "second channel", inUse, storage(other, media("ENABLED", archive)));
await twice("UpdateMediaStorageConfiguration", storage(cam, media("DISABLED")));
await ok("DescribeMediaStorageConfiguration", "mapped", { ChannelName: "cam" }, ({ MediaStorageConfiguration: m }) => m.Status === "ENABLED" && m.StreamARN === archive);
await fails("DescribeMediaStorageConfiguration", "no such channel", notFound, { ChannelARN: noChannel });
await fails("DescribeMediaStorageConfiguration", "name and ARN", invalid, { ChannelARN: cam, ChannelName: "cam" });
await twice("DescribeMediaStorageConfiguration", { ChannelARN: cam });
await ok("GetSignalingChannelEndpoint", "WEBRTC with storage", endpoint(cam, "WEBRTC"), (o) => o.ResourceEndpointList.length === 1 && o.ResourceEndpointList[0].ResourceEndpoint.startsWith("https://"));
await ok("DescribeMappedResourceConfiguration", "mapped", { StreamARN: archive }, ({ MappedResourceConfigurationList: l }) => l.length === 1 && l[0].ARN === cam);
await ok("DescribeMappedResourceConfiguration", "not mapped", { StreamName: "second" }, (o) => o.MappedResourceConfigurationList.length === 0);
await fails("DescribeMappedResourceConfiguration", "no such stream", notFound, { StreamARN: noStream });
await fails("DescribeMappedResourceConfiguration", "MaxResults 2", invalid, { StreamARN: archive, MaxResults: 2 });
await twice("DescribeMappedResourceConfiguration", { StreamARN: archive });
await fails("DeleteStream", "mapped", inUse, { StreamARN: archive });
await ok("UpdateMediaStorageConfiguration", "disable", storage(cam, media("DISABLED")));
await ok("UpdateMediaStorageConfiguration", "the stream is free", storage(other, media("ENABLED", archive)));
await ok("UpdateMediaStorageConfiguration", "disable the other", storage(other, media("DISABLED", archive)));

// Streams.
await ok("CreateStream", "with everything", { StreamName: "made", DeviceName: "roof", MediaType: "video/h264,audio/aac", DataRetentionInHours: 2, Tags: tagMap(50) },
  (o) => /^arn:aws:kinesisvideo:[a-z0-9-]+:\d{12}:stream\/made\/\d{13}$/.test(o.StreamARN));
await fails("CreateStream", "name exists", inUse, { StreamName: "archive" });
await fails("CreateStream", "51 tags", tooManyTags, { StreamName: "x", Tags: tagMap(51) });
await fails("CreateStream", "name", invalid, { StreamName: "a/b" });
await fails("CreateStream", "retention", invalid, { StreamName: "x", DataRetentionInHours: -1 });
await twice("CreateStream", { StreamName: "only" });
await fails("CreateStream", "one too many", "AccountStreamLimitExceededException", { StreamName: "beyond" }, slow);
await ok("DescribeStream", "by name", { StreamName: "made" }, ({ StreamInfo: s }) => s.DataRetentionInHours === 2 && s.DeviceName === "roof" && s.MediaType === "video/h264,audio/aac" &&
  s.Status === "ACTIVE" && s.KmsKeyId && Math.abs(Date.now() - s.CreationTime) < 60_000);
await row("ListStreams", "in pages of one", "ok", async () => {
  const first = await send(normal, "ListStreams", { MaxResults: 1 });
  return send(normal, "ListStreams", { MaxResults: 1, NextToken: first.NextToken });
}, (o) => o.StreamInfoList[0].StreamName === "live" && o.NextToken);
await ok("ListStreams", "by prefix", { StreamNameCondition: { ComparisonOperator: "BEGINS_WITH", ComparisonValue: "se" } }, (o) => o.StreamInfoList.length === 1 && o.StreamInfoList[0].StreamARN === second);
await fails("ListStreams", "MaxResults", invalid, { MaxResults: 10_001 });
await twice("ListStreams", {});
const old = await streamVersion(second);
await ok("UpdateStream", "device", { StreamARN: second, CurrentVersion: old, DeviceName: "cellar" });
await ok("DescribeStream", "after the update", { StreamARN: second }, ({ StreamInfo: s }) => s.DeviceName === "cellar" && s.Version !== old);
await ok("UpdateDataRetention", "increase", { StreamARN: second, CurrentVersion: await streamVersion(second), Operation: "INCREASE_DATA_RETENTION", DataRetentionChangeInHours: 1 });
await ok("UpdateDataRetention", "decrease", { StreamARN: second, CurrentVersion: await streamVersion(second), Operation: "DECREASE_DATA_RETENTION", DataRetentionChangeInHours: 2 });
await ok("DescribeStream", "after both", { StreamARN: second }, (o) => o.StreamInfo.DataRetentionInHours === 23);
await ok("UpdateStreamStorageConfiguration", "tier", { StreamARN: second, CurrentVersion: await streamVersion(second), StreamStorageConfiguration: { DefaultStorageTier: "WARM" } });
await ok("DescribeStreamStorageConfiguration", "tier", { StreamARN: second }, (o) => o.StreamStorageConfiguration.DefaultStorageTier === "WARM");
await ok("GetDataEndpoint", "PUT_MEDIA", { StreamName: "second", APIName: "PUT_MEDIA" }, (o) => o.DataEndpoint.startsWith("https://"));
await fails("GetDataEndpoint", "API name", invalid, { StreamName: "second", APIName: "NONE" });
await ok("TagStream", "one", { StreamARN: second, Tags: { a: "1", b: "" } });
await ok("UntagStream", "one", { StreamARN: second, TagKeyList: ["b"] });
await ok("ListTagsForStream", "what is left", { StreamName: "second" }, (o) => JSON.stringify(o.Tags) === '{"a":"1"}');
await fails("TagStream", "51st tag", tooManyTags, { StreamARN: second, Tags: tagMap(50) });
const streamCalls = {
  DescribeStream: {}, DescribeStreamStorageConfiguration: {}, GetDataEndpoint: { APIName: "GET_MEDIA" },
  UpdateStream: { CurrentVersion: version }, UpdateDataRetention: { CurrentVersion: version, Operation: "INCREASE_DATA_RETENTION", DataRetentionChangeInHours: 1 },
  UpdateStreamStorageConfiguration: { CurrentVersion: version, StreamStorageConfiguration: { DefaultStorageTier: "HOT" } },
  TagStream: { Tags: { a: "1" } }, UntagStream: { TagKeyList: ["a"] }, ListTagsForStream: {}, DeleteStream: { CurrentVersion: version },
};
for (const [operation, input] of Object.entries(streamCalls)) {
  const ofTags = /tag/i.test(operation);
  await fails(operation, "no such stream", notFound, { ...input, StreamARN: noStream });
  await fails(operation, "no ARN of ours", ofTags ? badFormat : invalid, { ...input, StreamARN: noARN });
  if (ofTags) await fails(operation, "neither name nor ARN", invalid, input);
  if (input.CurrentVersion) {
    await fails(operation, "version", mismatch, { ...input, StreamARN: second });
    await fails(operation, "while it is created", inUse, { ...input, StreamARN: slowStream }, slow);
  }
  await twice(operation, { ...input, StreamARN: second });
}

// Signaling REST.
await ok("GetIceServerConfig", "for a viewer", { ChannelARN: cam, ClientId: "viewer", Service: "TURN" }, ({ IceServerList: l }) => l.length >= 1 && l.length <= 5 &&
  l.every((s) => s.Ttl === 300 && s.Uris.length <= 4 && s.Uris.every((u) => /^turns?:[^?]+:\d+\?transport=(udp|tcp)$/.test(u)) && s.Username.length <= 256 && s.Password));
await fails("GetIceServerConfig", "no such channel", notFound, { ChannelARN: noChannel });
await fails("GetIceServerConfig", "client id", invalid, { ChannelARN: cam, ClientId: "a b" });
await twice("GetIceServerConfig", { ChannelARN: cam });
// The master answers with the offer itself.
const silent = (await send(normal, "CreateSignalingChannel", { ChannelName: "silent", SingleMasterConfiguration: { MessageTtlSeconds: 5 } })).ChannelARN;
const offer = { ChannelARN: master, SenderClientId: "alexa", MessagePayload: Buffer.from('{"type":"offer","sdp":"v=0"}').toString("base64") };
await ok("SendAlexaOfferToMaster", "answered", offer, (o) => o.Answer === offer.MessagePayload);
await ok("SendAlexaOfferToMaster", "nobody answers", { ...offer, ChannelARN: silent }, (o) => !o.Answer);
await fails("SendAlexaOfferToMaster", "no such channel", notFound, { ...offer, ChannelARN: noChannel });
await fails("SendAlexaOfferToMaster", "payload", invalid, { ...offer, MessagePayload: "{}" });
await fails("SendAlexaOfferToMaster", "sender", invalid, { ...offer, SenderClientId: "a b" });
await twice("SendAlexaOfferToMaster", { ...offer, ChannelARN: noChannel });

// Deletion.
await fails("DeleteSignalingChannel", "version", mismatch, { ChannelARN: cam, CurrentVersion: version });
await fails("DeleteSignalingChannel", "while it is created", inUse, { ChannelARN: slowChannel }, slow);
await ok("DeleteSignalingChannel", "by version", { ChannelARN: cam, CurrentVersion: await channelVersion(cam) });
await ok("DeleteSignalingChannel", "any version", { ChannelARN: other });
await fails("DeleteSignalingChannel", "deleted already", notFound, { ChannelARN: cam });
await fails("DeleteSignalingChannel", "no ARN of ours", invalid, { ChannelARN: noARN });
await twice("DeleteSignalingChannel", { ChannelARN: cam });
await ok("DeleteStream", "by version", { StreamARN: second, CurrentVersion: await streamVersion(second) });
await ok("DeleteStream", "any version", { StreamARN: archive });
await row("CreateSignalingChannel", "again", "ok", () => send(normal, "CreateSignalingChannel", { ChannelName: "cam" }), (o) => o.ChannelARN !== cam);

// What the SDK's own documentation says that each operation may raise.
const require = createRequire(import.meta.url);
function documented(pkg, operation) {
  const root = join(dirname(require.resolve(pkg)), "..", "dist-types", "commands", `${operation}Command.d.ts`);
  return [...readFileSync(root, "utf8").matchAll(/@throws \{@link (\w+Exception)\}/g)].map((m) => m[1]).filter((name) => !name.endsWith("ServiceException"));
}
const raises = {};
for (const operation of new Set(rows.map((r) => r.operation))) {
  raises[operation] = documented(`@aws-sdk/client-kinesis-video${rest.includes(operation) ? "-signaling" : ""}`, operation);
}

// What the policy denies, in the same words as before.
for (const [operation, names] of Object.entries(raises)) {
  const want = names.find((name) => name === "AccessDeniedException" || name === "NotAuthorizedException");
  if (want) await fails(operation, "denied by the key's policy", want, asked[operation], denied);
}
console.log(JSON.stringify({ rows, raises }));
