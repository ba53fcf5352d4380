package messages

import "time"

// CredentialsWanted asks for the current set, by those who have just started; the sender gets it.
//
// Path: session -> credentials
// Path: gatherer -> credentials
// Path: storage -> credentials
type CredentialsWanted struct {
	Rejected string // access key id of a set that the service refused; a newer one is fetched
}

// Credentials is one set of AWS credentials. It is never logged.
//
// Path: credentials -> session
// Path: credentials -> gatherer
// Path: credentials -> storage
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
	Expires         time.Time     // zero: they do not expire
	Source          string        // where they come from, for people
	Took            time.Duration // setup phase get_credentials
}

// String keeps the secret out of logs.
func (c Credentials) String() string { return "credentials " + c.AccessKeyID }

// GoString keeps the secret out of logs.
func (c Credentials) GoString() string { return c.String() }
