package aws

import (
	"fmt"
	"time"
)

// Key is an access key as a service knows it: what verifies its signatures and what its holder may
// do. It is not written after it was made.
type Key struct {
	ID        string
	Secret    string
	Principal string    // ARN of the holder, for refusals
	Policy    *Policy   // nil allows nothing
	Issued    time.Time // of a session; zero: the key lasts
	Thing     string    // of ${credentials-iot:ThingName}; empty: the variable stands for nothing
}

// String keeps the secret out of logs.
func (k *Key) String() string { return "access key " + k.ID }

// GoString keeps the secret out of logs.
func (k *Key) GoString() string { return k.String() }

// Unbounded tells that the key may do everything on every resource.
func (k *Key) Unbounded() bool { return k.Policy != nil && k.Policy.unbounded }

// Refusal says, in IAM's words, why the key may not do action on resource; it is empty when it may.
func (k *Key) Refusal(action, resource string) string {
	verdict := Unspoken
	if k.Policy != nil {
		verdict = k.Policy.Decide(action, resource, k.Thing)
	}
	said := fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s ", k.Principal, action, resource)
	switch verdict {
	case Allowed:
		return ""
	case Denied:
		return said + "with an explicit deny in an identity-based policy"
	}
	return said + "because no identity-based policy allows the " + action + " action"
}
