package service

// Request rates of the control plane, of the signaling REST calls and of the storage session's API
// (kvs-protocol.md 1.6, 2.1, 4.2).
// Owner: the registry.

import (
	"golang.org/x/time/rate"

	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	requestsPerResource = 5    // per second, operation and channel or stream
	joinsPerResource    = 2    // of the storage session's API
	requestsBurst       = 20   // lets ten viewers of a channel come at once; AWS's own depth is not published
	quotasMax           = 8192 // resources with a bucket; more share their account's alone
)

// The storage session's operations; a viewer's call of the master's counts as its own.
const (
	joinMaster = "JoinStorageSession"
	joinViewer = "JoinStorageSessionAsViewer"
)

type quotas struct {
	limits  Limits
	account map[string]*rate.Limiter
	each    map[quotaKey]*rate.Limiter
}

type quotaKey struct{ operation, resource string }

func newQuotas(l Limits) *quotas {
	return &quotas{limits: l, account: map[string]*rate.Limiter{}, each: map[quotaKey]*rate.Limiter{}}
}

// allow takes a token of the account's bucket and one of the resource's. What is not AWS's operation
// is not limited.
func (q *quotas) allow(operation, resource string, perSecond float64) bool {
	if operation == "" || q.limits.Unlimited {
		return true
	}
	if resource != "" && !q.of(quotaKey{operation, resource}).Allow() {
		return false
	}
	account := q.account[operation]
	if account == nil {
		account = q.bucket(perSecond, perSecond)
		q.account[operation] = account
	}
	return account.Allow()
}

func (q *quotas) of(key quotaKey) *rate.Limiter {
	if known := q.each[key]; known != nil {
		return known
	}
	if len(q.each) >= quotasMax {
		for k, l := range q.each {
			if l.Tokens() >= float64(l.Burst()) {
				delete(q.each, k) // full again, as a new one would be
			}
		}
	}
	made := q.bucket(requestsPerResource, requestsBurst)
	if key.operation == joinMaster || key.operation == joinViewer {
		made = q.bucket(joinsPerResource, joinsPerResource)
	}
	if len(q.each) < quotasMax {
		q.each[key] = made
	}
	return made
}

func (q *quotas) bucket(perSecond, burst float64) *rate.Limiter {
	return q.limits.bucket(perSecond*q.limits.RequestRates, int(burst*q.limits.RequestRates))
}

// quotaOf gives a question's operation, the resource it is about, and the account's rate.
func (g *registry) quotaOf(msg any) (operation, resource string, perSecond float64) {
	switch m := msg.(type) {
	case *messages.CreateChannel:
		return "CreateSignalingChannel", "", 50
	case *messages.DescribeChannel:
		return "DescribeSignalingChannel", m.ARN + m.Name, 300
	case *messages.ListChannels:
		return "ListSignalingChannels", "", 50
	case *messages.UpdateChannel:
		return "UpdateSignalingChannel", m.ARN, 50
	case *messages.DeleteChannel:
		return "DeleteSignalingChannel", m.ARN, 50
	case *messages.EndpointWanted:
		return "GetSignalingChannelEndpoint", m.ARN, 300
	case *messages.TurnWanted:
		if m.ChannelARN == "" {
			return "", "", 0 // a player's, which has no ARN
		}
		return "GetIceServerConfig", m.ChannelARN, 100
	case *messages.AlexaOfferWanted:
		return "SendAlexaOfferToMaster", m.ChannelARN, 100
	case *messages.ChangeTags:
		if m.Set != nil {
			return "Tag", m.ARN + m.Name, 50
		}
		return "Untag", m.ARN + m.Name, 50
	case *messages.TagsWanted:
		return "ListTags", m.ARN + m.Name, 50
	}
	return g.streamQuotaOf(msg)
}

func (*registry) streamQuotaOf(msg any) (operation, resource string, perSecond float64) {
	switch m := msg.(type) {
	case *messages.JoinStorageWanted:
		if m.ClientID != "" {
			return joinViewer, m.ChannelARN, 50
		}
		return joinMaster, m.ChannelARN, 50
	case *messages.StorageWanted:
		return "DescribeMediaStorageConfiguration", m.ARN + m.Name, 50
	case *messages.ChangeStorage:
		return "UpdateMediaStorageConfiguration", m.ChannelARN, 10
	case *messages.MappingWanted:
		return "DescribeMappedResourceConfiguration", m.ARN + m.Name, 50
	case *messages.CreateStream:
		return "CreateStream", "", 50
	case *messages.DescribeStream:
		return m.For, m.ARN + m.Name, 300
	case *messages.ListStreams:
		return "ListStreams", "", 50
	case *messages.UpdateStream:
		if m.RetentionChange != 0 {
			return "UpdateDataRetention", m.ARN + m.Name, 50
		}
		return "UpdateStream", m.ARN + m.Name, 50
	case *messages.DeleteStream:
		return "DeleteStream", m.ARN, 50
	}
	return "", "", 0
}
