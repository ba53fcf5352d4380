// Error responses as the RFCs want them. pion/turn answers with empty reason phrases, on which the
// linux reference client never allocates (kvs-protocol.md 7.4 (14)), and with 400 for wrong
// credentials. Owner: the goroutine that read the request, which is the one that answers it.

package relay

import (
	"github.com/pion/stun/v3"
)

const (
	stunHeaderBytes = 20
	stunClassError  = 0x0110 // RFC 8489 5: both class bits of the message type
	stunTypeMask    = 0xC000 // the two leading zero bits that tell STUN from ChannelData
)

// reasons are the phrases of RFC 8489 14.8, RFC 8656 19, RFC 6062 6.3 and RFC 8445 16.1.
var reasons = map[stun.ErrorCode]string{
	300: "Try Alternate",
	400: "Bad Request",
	401: "Unauthenticated",
	403: "Forbidden",
	420: "Unknown Attribute",
	437: "Allocation Mismatch",
	438: "Stale Nonce",
	440: "Address Family not Supported",
	441: "Wrong Credentials",
	442: "Unsupported Transport Protocol",
	443: "Peer Address Family Mismatch",
	446: "Connection Already Exists",
	447: "Connection Timeout or Failure",
	486: "Allocation Quota Reached",
	487: "Role Conflict",
	500: "Server Error",
	508: "Insufficient Capacity",
}

func isErrorResponse(p []byte) bool {
	if len(p) < stunHeaderBytes {
		return false
	}
	kind := uint16(p[0])<<8 | uint16(p[1])
	return kind&stunTypeMask == 0 && kind&stunClassError == stunClassError && stun.IsMessage(p)
}

// explain gives an error response its reason phrase. A signed response is signed anew. What cannot
// be read is returned as it is.
func (r *Relay) explain(response, request []byte) []byte {
	var in, asked stun.Message
	var problem stun.ErrorCodeAttribute
	if stun.Decode(response, &in) != nil || problem.GetFrom(&in) != nil || len(problem.Reason) > 0 {
		return response
	}
	if stun.Decode(request, &asked) != nil || asked.TransactionID != in.TransactionID {
		return response
	}
	key, trusted := r.verify(&asked)
	out := stun.New()
	out.SetType(in.Type)
	out.TransactionID = in.TransactionID
	out.WriteHeader()
	if problem.Code == stun.CodeBadRequest && asked.Contains(stun.AttrMessageIntegrity) && !trusted {
		// RFC 8489 9.2.4: wrong credentials are 401 with realm and nonce. The nonce was found good
		// before the credentials were looked at.
		problem.Code = stun.CodeUnauthorized
		copyAttributes(out, &asked, stun.AttrRealm, stun.AttrNonce)
	}
	if problem.Code == stun.CodeInsufficientCapacity && !r.offersFamily(&asked) {
		problem.Code = stun.CodeAddrFamilyNotSupported // RFC 8656 7.2
	}
	problem.Reason = []byte(reasons[problem.Code])
	if problem.AddTo(out) != nil {
		return response
	}
	for _, a := range in.Attributes {
		switch a.Type {
		case stun.AttrErrorCode, stun.AttrMessageIntegrity, stun.AttrFingerprint:
		default:
			out.Add(a.Type, a.Value)
		}
	}
	if in.Contains(stun.AttrMessageIntegrity) && stun.MessageIntegrity(key).AddTo(out) != nil {
		return response
	}
	return out.Raw
}

// offersFamily says whether there are relayed addresses of the family that was asked for.
func (r *Relay) offersFamily(asked *stun.Message) bool {
	value, err := asked.Get(stun.AttrRequestedAddressFamily)
	if err != nil || len(value) == 0 || len(r.sides) == 0 {
		return true
	}
	wanted := map[byte]string{1: "udp4", 2: "udp6"}[value[0]] // RFC 8656 18.6
	_, offered := r.sides[0].families[wanted]
	return offered
}

// verify says whether the request is signed with credentials of ours, and gives the key.
func (r *Relay) verify(asked *stun.Message) (key []byte, ok bool) {
	var username stun.Username
	var realm stun.Realm
	if username.GetFrom(asked) != nil || realm.GetFrom(asked) != nil {
		// Malformed rather than unauthenticated: RFC 8489 9.2.4 wants 400 here.
		return nil, true
	}
	if key, ok = r.key(username.String(), realm.String(), asked.Type.Method); !ok {
		return nil, false
	}
	return key, stun.MessageIntegrity(key).Check(asked) == nil
}

func copyAttributes(to, from *stun.Message, kinds ...stun.AttrType) {
	for _, kind := range kinds {
		if value, err := from.Get(kind); err == nil {
			to.Add(kind, value)
		}
	}
}
