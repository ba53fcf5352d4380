package device

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// failure is what an error of the signaling session means: its class for the counter, what whoever runs
// the device can do, and how long to wait at least, because asking sooner helps nobody.
type failure struct {
	class  string
	remedy string
	least  time.Duration
}

// The classes of failures, the label of kvs_session_failures_total.
var (
	failedDNS         = failure{"dns", "check the network, its name server, and the region", 0}
	failedRefused     = failure{"refused", "nobody listens there: check the endpoint", 0}
	failedTimeout     = failure{"timeout", "check the network and its firewall: TCP port 443", 0}
	failedTLS         = failure{"tls", "check --ca-file, the endpoint's name, and this machine's clock", 5 * time.Second}
	failedClock       = failure{"clock", "this machine's clock is wrong; the service's is used from now on", 0}
	failedCredentials = failure{"credentials", "check the keys and the policy; newer credentials are fetched", time.Second}
	failedNotFound    = failure{"not_found", "the channel does not exist: create it, or allow --create-channel", 5 * time.Second}
	failedThrottled   = failure{"throttled", "too many calls or connections for this channel or account", time.Second}
	failedService     = failure{"service", "the service has a fault", 0}
	failedSilent      = failure{"silent", "nothing came on the signaling socket, not even answers to pings", 0}
	failedClosed      = failure{"closed", "the service closed the signaling socket", 0}
	failedNetwork     = failure{"network", "check the network", 0}
)

var failureClasses = []failure{
	failedDNS, failedRefused, failedTimeout, failedTLS, failedClock, failedCredentials, failedNotFound, failedThrottled,
	failedService, failedSilent, failedClosed, failedNetwork,
}

// classify finds the class of an error.
func classify(err error) failure {
	var rest *aws.Error
	var handshake *signaling.HandshakeError
	var closed *signaling.CloseError
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var network net.Error
	switch {
	case errors.As(err, &rest):
		return classifyAnswer(rest.Status, rest.Type, rest.Message)
	case errors.As(err, &handshake):
		return classifyAnswer(handshake.Status, handshake.Type, handshake.Message)
	case errors.As(err, &closed):
		return failedClosed
	case errors.Is(err, signaling.ErrSilent):
		return failedSilent
	case errors.As(err, &dns):
		return failedDNS
	case errors.As(err, &certificate), errors.As(err, &record), errors.As(err, &alert):
		return failedTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return failedRefused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return failedTimeout
	}
	return failedNetwork
}

// classifyAnswer finds the class of what an endpoint answered (kvs-protocol.md 1.5, 3.3).
func classifyAnswer(status int, kind, message string) failure {
	switch {
	case aws.WrongTime(kind, message):
		return failedClock
	case kind == "ClientLimitExceededException", kind == "ThrottlingException", kind == "LimitExceededException", status == http.StatusTooManyRequests:
		return failedThrottled
	case kind == "ResourceNotFoundException", status == http.StatusNotFound:
		return failedNotFound
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return failedCredentials
	case status >= 500:
		return failedService
	}
	return failedNetwork
}
