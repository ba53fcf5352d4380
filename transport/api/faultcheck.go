package api

// What a fault may be. Owner: nobody, pure functions.

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

const (
	faultDaysMax   = 7
	faultOnlyMax   = 32
	delaySecondMax = 600
	skewSecondsMax = 10 * 365 * 24 * 3600
)

// usual are the names of errors by status (kvs-protocol.md 1.5), for those who name none.
var usual = map[int]string{
	400: "InvalidArgumentException", 401: "NotAuthorizedException", 403: "AccessDeniedException",
	404: "ResourceNotFoundException", 500: "InternalFailure", 503: "ServiceUnavailableException",
}

var errorTypePattern = regexp.MustCompile(`^[A-Za-z]{1,64}$`)

// faultForm says what a kind of fault takes besides its scope.
type faultForm struct {
	by, status    bool
	scope, chance bool
	only          func(name string) bool // nil: it knows no names
}

func formOf(kind string) (faultForm, bool) {
	all := faultForm{scope: true, chance: true}
	switch kind {
	case messages.FaultGoAway, messages.FaultReconnectICE, messages.FaultCut, messages.FaultRefuseTurn:
	case messages.FaultRefuse:
		all.status = true
	case messages.FaultError:
		all.status, all.only = true, operationKnown
	case messages.FaultThrottle:
		all.only = operationKnown
	case messages.FaultExpire:
		all.only = func(name string) bool {
			return operationKnown(name) || name == bare(actionMaster) || name == bare(actionViewer)
		}
	case messages.FaultClock:
		return faultForm{by: true}, true
	case messages.FaultDrop:
		all.only = messageKnown
	case messages.FaultDelay:
		all.by, all.only = true, messageKnown
	default:
		return all, false
	}
	return all, true
}

func messageKnown(name string) bool {
	return slices.Contains([]string{signaling.SDPOffer, signaling.SDPAnswer, signaling.ICECandidate}, name)
}

func operationKnown(name string) bool {
	for path := range open(Config{}).operations() {
		if operationOf(path) == name {
			return true
		}
	}
	return false
}

// complete checks a fault and fills in what it leaves to the service.
func complete(f messages.Fault) (messages.Fault, error) {
	form, known := formOf(f.Kind)
	if !known {
		return f, fmt.Errorf("there is no fault of the kind %q", f.Kind)
	}
	if f.Probability == 0 {
		f.Probability = 1
	}
	switch {
	case f.ID != 0 || f.Struck != 0 || f.LeftS != 0:
		return f, errors.New("id, struck and left_s are the service's to say")
	case f.Probability < 0 || f.Probability > 1:
		return f, fmt.Errorf("the probability must lie between 0 and 1, not %v", f.Probability)
	case f.Probability < 1 && !form.chance:
		return f, fmt.Errorf("%s takes no probability", f.Kind)
	case f.ForS < 0 || f.ForS > faultDaysMax*24*3600:
		return f, fmt.Errorf("a fault may stand for %d days at most", faultDaysMax)
	case !form.status && (f.Status != 0 || f.Type != ""):
		return f, fmt.Errorf("%s takes no status and no type", f.Kind)
	}
	if err := checkScope(f, form); err != nil {
		return f, err
	}
	if err := checkBy(f, form); err != nil {
		return f, err
	}
	return withStatus(f, form)
}

func checkScope(f messages.Fault, form faultForm) error {
	switch {
	case !form.scope && (f.Channel != "" || f.ClientID != "" || f.Master):
		return fmt.Errorf("%s is one for all: it takes no channel and no client", f.Kind)
	case f.ClientID != "" && (f.Channel == "" || f.Master):
		return errors.New("a client id is that of a viewer on a channel: name the channel, and leave the master out")
	case f.Master && (f.Kind == messages.FaultRefuseTurn || f.Kind == messages.FaultError || f.Kind == messages.FaultThrottle):
		return fmt.Errorf("%s takes no master: the requests do not tell who sends them; name the client id that it gives", f.Kind)
	case f.Channel != "" && checkName(f.Channel) != nil:
		return fmt.Errorf("the channel is meant by its name, which %q cannot be", f.Channel)
	case f.ClientID != "" && !signalingID(f.ClientID):
		return errors.New("the client id must have 1 to 256 characters of [a-zA-Z0-9_.-]")
	case len(f.Only) > 0 && form.only == nil:
		return fmt.Errorf("%s is not limited to names: leave only out", f.Kind)
	case len(f.Only) > faultOnlyMax:
		return fmt.Errorf("only takes %d names at most", faultOnlyMax)
	}
	for _, name := range f.Only {
		if !form.only(name) {
			return fmt.Errorf("only: %s has nothing to do with %q; REST operations are named as in IAM (GetIceServerConfig), messages as on the wire (SDP_ANSWER)", f.Kind, name)
		}
	}
	return nil
}

func checkBy(f messages.Fault, form faultForm) error {
	switch {
	case !form.by && f.ByS != 0:
		return fmt.Errorf("%s takes no by", f.Kind)
	case form.by && f.ByS == 0:
		return fmt.Errorf("%s needs by: how much", f.Kind)
	case f.Kind == messages.FaultDelay && (f.ByS < 0 || f.ByS > delaySecondMax):
		return fmt.Errorf("a message may be late by %d s at most", delaySecondMax)
	case f.ByS < -skewSecondsMax || f.ByS > skewSecondsMax:
		return errors.New("the clock may be off by ten years at most")
	}
	return nil
}

func withStatus(f messages.Fault, form faultForm) (messages.Fault, error) {
	switch {
	case f.Kind == messages.FaultThrottle:
		f.Status, f.Type = 400, "ClientLimitExceededException" // kvs-protocol.md 1.6
		return f, nil
	case !form.status:
		return f, nil
	case f.Status == 0 && f.Kind == messages.FaultRefuse:
		f.Status = 503
	case f.Status == 0:
		f.Status = 500
	case f.Status < 400 || f.Status > 599:
		return f, fmt.Errorf("the status must be one of an error, 400 to 599, not %d", f.Status)
	}
	if f.Type == "" {
		f.Type = cmp.Or(usual[f.Status], usual[f.Status/100*100])
	}
	if !errorTypePattern.MatchString(f.Type) {
		return f, errors.New("the type must be the name of an exception, of letters alone")
	}
	return f, nil
}
