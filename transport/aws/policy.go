package aws

// IAM policies: what an access key may do. In order of execution: ParsePolicy reads the document,
// strictly, and compiles its patterns; Decide goes through the statements, of which an Allow must
// match and no Deny may. Owner: nobody, a policy is never written after it was parsed.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// The bounds of a policy, wider than IAM's own 6,144 characters.
const (
	policyBytesMax  = 64 << 10
	statementsMax   = 100
	patternsMax     = 100 // actions, and resources, of a statement
	patternCharsMax = 1024
	policyVersion   = "2012-10-17"
	thingVariable   = "${credentials-iot:ThingName}"
	arnSegments     = 6 // arn:partition:service:region:account:resource
)

// What a compiled pattern holds in place of wildcards and of the variable. Patterns are checked for
// control characters, so that these stand for nothing else.
const (
	anyChars  = '\x01' // *
	anyChar   = '\x02' // ?
	thingName = '\x03' // ${credentials-iot:ThingName}
)

// Everything is the policy of a key without bounds, as the service writes it.
const Everything = `{"Version":"` + policyVersion + `","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// Policy is an identity policy of IAM's language, as far as KVS needs it: Effect, Action and Resource
// with * and ?, and the variable ${credentials-iot:ThingName}. The zero value allows nothing.
type Policy struct {
	statements []statement
	unbounded  bool // everything is allowed and nothing denied
}

type statement struct {
	deny      bool
	actions   []string   // compiled, lower case: IAM compares actions without regard to case
	resources [][]string // compiled, by segment of the ARN; a single one is "*"
}

// Verdict is what a policy says of one action on one resource.
type Verdict int

// The verdicts. What no statement speaks of is as good as denied, but told apart in the refusal.
const (
	Unspoken Verdict = iota
	Allowed
	Denied
)

// policyText is the document. An element that is not here (Condition, NotAction, Principal) is
// refused: to pass over one would allow more than was meant.
type policyText struct {
	Version   string
	Id        string
	Statement oneOrMany[statementText]
}

type statementText struct {
	Sid      string
	Effect   string
	Action   oneOrMany[string]
	Resource oneOrMany[string]
}

// oneOrMany is a list that may be written as its only item.
type oneOrMany[T any] []T

func (l *oneOrMany[T]) UnmarshalJSON(text []byte) error {
	if text = bytes.TrimSpace(text); len(text) > 0 && text[0] == '[' {
		return DecodeStrictly(text, (*[]T)(l))
	}
	*l = make([]T, 1)
	return DecodeStrictly(text, &(*l)[0])
}

// DecodeStrictly reads one JSON value; a member that into has no place for is an error.
func DecodeStrictly(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// ParsePolicy reads a policy document. The error says which statement is wrong and what to write.
func ParsePolicy(document []byte) (*Policy, error) {
	if len(document) > policyBytesMax {
		return nil, fmt.Errorf("a policy has at most %d bytes", policyBytesMax)
	}
	var text policyText
	if err := DecodeStrictly(document, &text); err != nil {
		return nil, fmt.Errorf("read policy (known are Version, Id, Statement and its Sid, Effect, Action, Resource): %w", err)
	}
	if text.Version != policyVersion {
		return nil, fmt.Errorf("the Version must be %q", policyVersion)
	}
	if len(text.Statement) == 0 || len(text.Statement) > statementsMax {
		return nil, fmt.Errorf("a policy has 1 to %d statements", statementsMax)
	}
	p := &Policy{}
	for i, s := range text.Statement {
		compiled, err := s.compile()
		if err != nil {
			return nil, fmt.Errorf("in Statement[%d]: %w", i, err)
		}
		p.statements = append(p.statements, compiled)
	}
	all := func(s statement) bool {
		return slices.Contains(s.actions, string(anyChars)) && slices.ContainsFunc(s.resources, func(r []string) bool { return len(r) == 1 })
	}
	denies := func(s statement) bool { return s.deny }
	p.unbounded = slices.ContainsFunc(p.statements, all) && !slices.ContainsFunc(p.statements, denies)
	return p, nil
}

var actionPattern = regexp.MustCompile(`^(\*|[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+)$`)

func (t *statementText) compile() (statement, error) {
	s := statement{deny: t.Effect == "Deny"}
	if t.Effect != "Allow" && t.Effect != "Deny" {
		return s, errors.New(`the Effect must be "Allow" or "Deny"`)
	}
	if n := len(t.Action); n == 0 || n > patternsMax {
		return s, fmt.Errorf("the Action must name 1 to %d actions", patternsMax)
	}
	if n := len(t.Resource); n == 0 || n > patternsMax {
		return s, fmt.Errorf("the Resource must name 1 to %d resources", patternsMax)
	}
	for _, action := range t.Action {
		if len(action) > patternCharsMax || !actionPattern.MatchString(action) {
			return s, errors.New(`the Action must be "*" or like "kinesisvideo:ConnectAsViewer", with * and ?`)
		}
		s.actions = append(s.actions, wildcards.Replace(strings.ToLower(action)))
	}
	for _, resource := range t.Resource {
		segments, err := compileResource(resource)
		if err != nil {
			return s, err
		}
		s.resources = append(s.resources, segments)
	}
	return s, nil
}

// wildcards compiles a pattern; ${*}, ${?} and ${$} stand for the characters themselves.
var wildcards = strings.NewReplacer(thingVariable, string(thingName), "${*}", "*", "${?}", "?", "${$}", "$",
	"*", string(anyChars), "?", string(anyChar))

// compileResource takes an ARN pattern apart before anything is put in for a variable: as with IAM,
// a wildcard does not reach over a colon.
func compileResource(pattern string) ([]string, error) {
	if strings.ContainsFunc(pattern, func(r rune) bool { return r < ' ' }) || len(pattern) > patternCharsMax {
		return nil, fmt.Errorf("the Resource must have at most %d characters, none of them a control character", patternCharsMax)
	}
	compiled := wildcards.Replace(pattern)
	if strings.Contains(compiled, "${") {
		return nil, errors.New("the Resource holds a variable that is not known: there is " + thingVariable)
	}
	if pattern == "*" {
		return []string{compiled}, nil
	}
	segments := strings.SplitN(compiled, ":", arnSegments)
	if len(segments) != arnSegments || segments[0] != "arn" {
		return nil, errors.New(`the Resource must be "*" or an ARN such as "arn:aws:kinesisvideo:*:*:channel/my-camera/*"`)
	}
	return segments, nil
}

// Decide judges an action ("kinesisvideo:ConnectAsMaster") on a resource, an ARN or "*" for none in
// particular. thing is what the variable stands for; a pattern with the variable matches nothing
// while it is empty.
func (p *Policy) Decide(action, resource, thing string) Verdict {
	action = strings.ToLower(action)
	verdict := Unspoken
	for i := range p.statements {
		if s := &p.statements[i]; s.speaks(action, resource, thing) {
			if s.deny {
				return Denied
			}
			verdict = Allowed
		}
	}
	return verdict
}

// speaks tells whether the statement is about the action, in lower case, on the resource.
func (s *statement) speaks(action, resource, thing string) bool {
	about := false
	for _, a := range s.actions {
		about = about || matches(a, action)
	}
	if !about {
		return false
	}
	segments := strings.SplitN(resource, ":", arnSegments)
	for _, r := range s.resources {
		if len(r) == 1 || len(r) == len(segments) && matchesAll(r, segments, thing) {
			return true
		}
	}
	return false
}

func matchesAll(patterns, segments []string, thing string) bool {
	for i, p := range patterns {
		if strings.ContainsRune(p, thingName) {
			if thing == "" {
				return false
			}
			p = strings.ReplaceAll(p, string(thingName), thing)
		}
		if !matches(p, segments[i]) {
			return false
		}
	}
	return true
}

// matches holds a text against a compiled pattern. It goes back to the last * only, so that no
// pattern takes longer than the product of the two lengths.
func matches(pattern, text string) bool {
	p, t := 0, 0
	star, resume := -1, 0 // behind the last *, and what it has not swallowed yet
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == anyChars:
			p++
			star, resume = p, t
		case p < len(pattern) && (pattern[p] == anyChar || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			resume++
			p, t = star, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], string(anyChars)) == ""
}
