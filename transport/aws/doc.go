// Package aws speaks the AWS side of KVS: Signature Version 4 in both directions, the REST calls of
// the control plane and of the signaling endpoint, and where credentials come from.
//
// A client signs (sign.go, on the SDK's signer) and calls (client.go, ice.go); a service verifies
// (verify.go reads the claim, canonical.go rebuilds what was signed). Both ends say what is wrong
// with an *Error. Nothing here keeps state beyond connections, and nothing here logs.
package aws

// ServiceName is the SigV4 service of all KVS APIs, the WebSocket included (kvs-protocol.md 1.1).
const ServiceName = "kinesisvideo"
