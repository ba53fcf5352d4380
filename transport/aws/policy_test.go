package aws

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

const (
	doorARN   = "arn:aws:kinesisvideo:us-west-2:123456789012:channel/door/1577439476380"
	gateARN   = "arn:aws:kinesisvideo:us-west-2:123456789012:channel/gate/1577439476381"
	streamARN = "arn:aws:kinesisvideo:us-west-2:123456789012:stream/door/1577439476382"
)

func policyOf(statements string) string {
	return `{"Version":"2012-10-17","Statement":` + statements + `}`
}

func TestPolicyDecides(t *testing.T) {
	const doors = `"arn:aws:kinesisvideo:*:*:channel/door/*"`
	viewer := policyOf(`[{"Sid":"v","Effect":"Allow","Action":["kinesisvideo:ConnectAsViewer","kinesisvideo:Get*"],"Resource":` + doors + `}]`)
	noDoor := policyOf(`[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"kinesisvideo:ConnectAs*","Resource":` + doors + `}]`)
	denyFirst := policyOf(`[{"Effect":"Deny","Action":"kinesisvideo:*","Resource":"*"},{"Effect":"Allow","Action":"*","Resource":"*"}]`)
	thing := policyOf(`{"Effect":"Allow","Action":"kinesisvideo:*","Resource":"arn:aws:kinesisvideo:*:*:channel/${credentials-iot:ThingName}/*"}`)
	one := func(action, resource string) string {
		return policyOf(`{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}`)
	}
	for _, c := range []struct {
		name, policy, action, resource, thing string
		want                                  Verdict
	}{
		{"everything", Everything, "kinesisvideo:DeleteSignalingChannel", doorARN, "", Allowed},
		{"everything, of no resource", Everything, "kinesisvideo:ListSignalingChannels", "*", "", Allowed},
		{"viewer views", viewer, "kinesisvideo:ConnectAsViewer", doorARN, "", Allowed},
		{"a wildcard in the action", viewer, "kinesisvideo:GetIceServerConfig", doorARN, "", Allowed},
		{"actions know no case", viewer, "KinesisVideo:CONNECTASVIEWER", doorARN, "", Allowed},
		{"viewer is no master", viewer, "kinesisvideo:ConnectAsMaster", doorARN, "", Unspoken},
		{"viewer of another channel", viewer, "kinesisvideo:ConnectAsViewer", gateARN, "", Unspoken},
		{"a stream of the same name", viewer, "kinesisvideo:ConnectAsViewer", streamARN, "", Unspoken},
		{"no resource is not any resource", viewer, "kinesisvideo:GetX", "*", "", Unspoken},
		{"deny wins behind", noDoor, "kinesisvideo:ConnectAsMaster", doorARN, "", Denied},
		{"deny is of that resource", noDoor, "kinesisvideo:ConnectAsMaster", gateARN, "", Allowed},
		{"deny is of that action", noDoor, "kinesisvideo:DescribeSignalingChannel", doorARN, "", Allowed},
		{"deny wins ahead", denyFirst, "kinesisvideo:ConnectAsMaster", doorARN, "", Denied},
		{"one character", one("kinesisvideo:ConnectAs??????", doorARN), "kinesisvideo:ConnectAsMaster", doorARN, "", Allowed},
		{"one character is one", one("kinesisvideo:ConnectAs?????", doorARN), "kinesisvideo:ConnectAsMaster", doorARN, "", Unspoken},
		{"resources know case", one("*", strings.Replace(doorARN, "door", "Door", 1)), "kinesisvideo:X", doorARN, "", Unspoken},
		{"a wildcard within a name", one("*", "arn:aws:kinesisvideo:us-*-2:*:channel/d?o*/*"), "kinesisvideo:X", doorARN, "", Allowed},
		{"a wildcard stays before the colon", one("*", "arn:aws:*:::*"), "kinesisvideo:X", doorARN, "", Unspoken},
		{"another service", one("s3:*", "*"), "kinesisvideo:X", doorARN, "", Unspoken},
		{"another account", one("*", "arn:aws:kinesisvideo:*:000000000000:channel/*/*"), "kinesisvideo:X", doorARN, "", Unspoken},
		{"an escaped star is a star", one("*", "arn:aws:kinesisvideo:*:*:channel/${*}/*"), "kinesisvideo:X", doorARN, "", Unspoken},
		{"the thing's channel", thing, "kinesisvideo:ConnectAsMaster", doorARN, "door", Allowed},
		{"another thing's channel", thing, "kinesisvideo:ConnectAsMaster", gateARN, "door", Unspoken},
		{"no thing", thing, "kinesisvideo:ConnectAsMaster", strings.Replace(doorARN, "/door/", "//", 1), "", Unspoken},
		{"a thing called star", thing, "kinesisvideo:ConnectAsMaster", doorARN, "*", Unspoken},
	} {
		p, err := ParsePolicy([]byte(c.policy))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := p.Decide(c.action, c.resource, c.thing); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// What is not understood must not be passed over: that would allow more than was meant.
func TestPolicyRefuses(t *testing.T) {
	allow := func(rest string) string { return policyOf(`[{"Effect":"Allow",` + rest + `}]`) }
	for name, c := range map[string]struct{ policy, says string }{
		"no JSON":          {`{`, "unexpected EOF"},
		"two values":       {Everything + "{}", "something follows"},
		"no version":       {`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, "2012-10-17"},
		"no statement":     {policyOf(`[]`), "1 to 100 statements"},
		"a condition":      {allow(`"Action":"*","Resource":"*","Condition":{}`), "Condition"},
		"NotAction":        {allow(`"NotAction":"*","Resource":"*"`), "NotAction"},
		"a principal":      {allow(`"Principal":"*","Action":"*","Resource":"*"`), "Principal"},
		"effect in lower":  {policyOf(`{"Effect":"allow","Action":"*","Resource":"*"}`), "the Effect must be"},
		"no action":        {allow(`"Resource":"*"`), "1 to 100 actions"},
		"no resource":      {allow(`"Action":"*"`), "1 to 100 resources"},
		"a bare action":    {allow(`"Action":"ConnectAsViewer","Resource":"*"`), "like \"kinesisvideo:ConnectAsViewer\""},
		"a short arn":      {allow(`"Action":"*","Resource":"arn:aws:kinesisvideo:*"`), "an ARN such as"},
		"a control":        {allow(`"Action":"*","Resource":"arn:aws:kinesisvideo:*:*:\u0001"`), "control character"},
		"unknown variable": {allow(`"Action":"*","Resource":"arn:aws:kinesisvideo:*:*:channel/${aws:username}/*"`), "variable that is not known"},
		"too long":         {allow(`"Action":"*","Resource":"` + strings.Repeat("a", patternCharsMax+1) + `"`), "at most 1024"},
		"too large":        {strings.Repeat(" ", policyBytesMax+1), "bytes"},
	} {
		if _, err := ParsePolicy([]byte(c.policy)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}
}

func TestKeyRefusal(t *testing.T) {
	parsed, err := ParsePolicy([]byte(policyOf(`[{"Effect":"Allow","Action":"kinesisvideo:ConnectAsViewer","Resource":"*"},{"Effect":"Deny","Action":"kinesisvideo:Delete*","Resource":"*"}]`)))
	if err != nil {
		t.Fatal(err)
	}
	key := &Key{ID: "AKIDEXAMPLE", Secret: "secret", Principal: "arn:aws:iam::123456789012:user/AKIDEXAMPLE", Policy: parsed}
	head := "User: arn:aws:iam::123456789012:user/AKIDEXAMPLE is not authorized to perform: kinesisvideo:"
	for action, want := range map[string]string{
		"ConnectAsViewer":        "",
		"ConnectAsMaster":        head + "ConnectAsMaster on resource: " + doorARN + " because no identity-based policy allows the kinesisvideo:ConnectAsMaster action",
		"DeleteSignalingChannel": head + "DeleteSignalingChannel on resource: " + doorARN + " with an explicit deny in an identity-based policy",
	} {
		if got := key.Refusal("kinesisvideo:"+action, doorARN); got != want {
			t.Errorf("%s: %q, want %q", action, got, want)
		}
	}
	if (&Key{}).Refusal("kinesisvideo:X", "*") == "" || (&Key{}).Unbounded() || key.Unbounded() {
		t.Error("a key without a policy, or with a bounded one, may do everything")
	}
	if strings.Contains(key.String(), "secret") {
		t.Error("the secret is printed")
	}
}

// The reference is a regular expression, in which only the wildcards mean something.
func FuzzPolicyMatching(f *testing.F) {
	f.Add("channel/*/15?", "channel/door/157")
	f.Add("**a*b?", "aab\x01b")
	f.Add("*?*", "")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 64 || len(text) > 256 || strings.ContainsAny(pattern, "$\x01\x02\x03") {
			t.Skip()
		}
		var b strings.Builder
		b.WriteString(`(?s)^`)
		for _, c := range []byte(pattern) { // by bytes, as matching is
			switch c {
			case '*':
				b.WriteString(`.*`)
			case '?':
				b.WriteString(`.`)
			default:
				b.WriteString(regexp.QuoteMeta(latin1([]byte{c})))
			}
		}
		want := regexp.MustCompile(b.String() + `$`).MatchString(latin1([]byte(text)))
		if got := matches(wildcards.Replace(pattern), text); got != want {
			t.Errorf("%q on %q: %v, want %v", pattern, text, got, want)
		}
	})
}

// latin1 makes one character of each byte.
func latin1(text []byte) string {
	runes := make([]rune, len(text))
	for i, b := range text {
		runes[i] = rune(b)
	}
	return string(runes)
}

// Whatever a document allows, the same with a denial of everything allows nothing.
func FuzzParsePolicy(f *testing.F) {
	f.Add(Everything, doorARN)
	f.Add(policyOf(`[{"Effect":"Allow","Action":["kinesisvideo:*"],"Resource":["arn:aws:kinesisvideo:*:*:channel/${credentials-iot:ThingName}/*"]}]`), doorARN)
	f.Fuzz(func(t *testing.T, document, resource string) {
		p, err := ParsePolicy([]byte(document))
		if err != nil {
			return
		}
		if p.unbounded && p.Decide("kinesisvideo:X", resource, "") != Allowed {
			t.Errorf("unbounded, yet not allowed on %q", resource)
		}
		var text policyText
		if err := json.Unmarshal([]byte(document), &text); err != nil {
			t.Fatal(err)
		}
		text.Statement = append(text.Statement, statementText{Effect: "Deny", Action: []string{"*"}, Resource: []string{"*"}})
		denied, _ := json.Marshal(text)
		q, err := ParsePolicy(denied)
		if err != nil {
			if len(text.Statement) > statementsMax || len(denied) > policyBytesMax {
				return
			}
			t.Fatal(err)
		}
		if q.unbounded || q.Decide("kinesisvideo:X", resource, "door") != Denied {
			t.Errorf("a denial of everything did not win")
		}
	})
}
