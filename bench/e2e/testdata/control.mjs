// The control plane through the official AWS SDK for JavaScript v3. Endpoint and credentials come from the
// environment; one JSON object goes to stdout, and the Go test judges it.

import {
  CreateSignalingChannelCommand,
  DeleteSignalingChannelCommand,
  DescribeSignalingChannelCommand,
  GetSignalingChannelEndpointCommand,
  KinesisVideoClient,
  paginateListSignalingChannels,
} from "@aws-sdk/client-kinesis-video";
import { GetIceServerConfigCommand, KinesisVideoSignalingClient } from "@aws-sdk/client-kinesis-video-signaling";

const { HELIOGRAPH_ENDPOINT: endpoint, AWS_REGION: region, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = process.env;
const credentials = { accessKeyId, secretAccessKey };
const forged = { accessKeyId, secretAccessKey: "x".repeat(40) };
const stranger = { accessKeyId: "AKIAEXAMPLESTRANGER0", secretAccessKey };
const client = (as) => new KinesisVideoClient({ region, endpoint, credentials: as, maxAttempts: 1 });
const kvs = client(credentials);

// failure runs a call that must fail and tells how.
async function failure(call) {
  try {
    await call();
  } catch (error) {
    return { name: error.name, status: error.$metadata?.httpStatusCode ?? 0, message: error.message };
  }
  return { name: "none", status: 200 };
}

async function list(input) {
  const names = [];
  for await (const page of paginateListSignalingChannels({ client: kvs, pageSize: 2 }, input)) {
    names.push(...(page.ChannelInfoList ?? []).map((info) => info.ChannelName));
  }
  return names;
}

const create = (name, as = kvs) => as.send(new CreateSignalingChannelCommand({ ChannelName: name, SingleMasterConfiguration: { MessageTtlSeconds: 90 } }));
const describe = (name, as = kvs) => as.send(new DescribeSignalingChannelCommand({ ChannelName: name }));

const created = [];
for (const name of ["e2e-a", "e2e-b", "e2e-c"]) created.push((await create(name)).ChannelARN);

const info = (await describe("e2e-a")).ChannelInfo;
const described = {
  ...info,
  ttl: info.SingleMasterConfiguration?.MessageTtlSeconds,
  recent: Math.abs(Date.now() - info.CreationTime.getTime()) < 60_000,
};

const { ResourceEndpointList } = await kvs.send(new GetSignalingChannelEndpointCommand({
  ChannelARN: created[0],
  SingleMasterChannelEndpointConfiguration: { Protocols: ["WSS", "HTTPS"], Role: "VIEWER" },
}));
const endpoints = Object.fromEntries(ResourceEndpointList.map((e) => [e.Protocol, e.ResourceEndpoint]));

const signaling = (as) => new KinesisVideoSignalingClient({ region, endpoint: endpoints.HTTPS, credentials: as, maxAttempts: 1 });
const iceConfig = (as) => signaling(as).send(new GetIceServerConfigCommand({ ChannelARN: created[0], ClientId: "e2e", Service: "TURN" }));
const ice = (await iceConfig(credentials)).IceServerList;

const listed = await list({});
const begins = await list({ ChannelNameCondition: { ComparisonOperator: "BEGINS_WITH", ComparisonValue: "e2e-b" } });

const faults = {
  duplicate: await failure(() => create("e2e-a")),
  missing: await failure(() => describe("e2e-none")),
  invalidName: await failure(() => create("no spaces here")),
  wrongSecret: await failure(() => describe("e2e-a", client(forged))),
  wrongKey: await failure(() => describe("e2e-a", client(stranger))),
  wrongSignaling: await failure(() => iceConfig(forged)),
};

await kvs.send(new DeleteSignalingChannelCommand({ ChannelARN: created[0], CurrentVersion: info.Version }));
faults.deleted = await failure(() => describe("e2e-a"));
const after = (await list({})).sort();

console.log(JSON.stringify({ created, described, endpoints, ice, listed, begins, after, faults }));
