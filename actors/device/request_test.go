package device

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDecodeRequest(t *testing.T) {
	long := strings.Repeat("x", requestBytesMax)
	for _, c := range []struct {
		name, text string
		request    bool
		code, id   string
	}{
		{"string id", `{"id":"a","request":"ping"}`, true, "", `"a"`},
		{"number", ` {"id": 7, "request":"bitrate","bps":500000}`, true, "", `7`},
		{"no id", `{"request":"stats"}`, true, "", ``},
		{"null id", `{"id":null,"request":"stats"}`, true, "", `null`},
		{"text", `hello camera`, false, "", ""},
		{"list", `[1]`, false, "", ""},
		{"empty", ``, false, "", ""},
		{"object of another protocol", `{"content":"x","firstMessageFromViewerTs":"1"}`, false, "", ""},
		{"no JSON", `{"request":`, true, codeBadRequest, ""},
		{"wrong type", `{"id":"a","request":7}`, true, codeBadRequest, `"a"`},
		{"fraction", `{"id":"a","request":"bitrate","bps":1.5}`, true, codeBadRequest, `"a"`},
		{"unknown member", `{"id":"a","request":"bitrate","bsp":1}`, true, codeBadRequest, `"a"`},
		{"list for an id", `{"id":[1],"request":"ping"}`, true, codeBadRequest, ""},
		{"bool for an id", `{"id":true,"request":"ping"}`, true, codeBadRequest, ""},
		{"long id", `{"id":"` + long[:requestIDBytesMax] + `","request":"ping"}`, true, codeBadRequest, ""},
		{"long", `{"id":"a","request":"` + long + `"}`, true, codeTooLarge, ""},
	} {
		if got := isRequest([]byte(c.text)); got != c.request {
			t.Errorf("%s: a request: %v", c.name, got)
		}
		if !c.request {
			continue
		}
		r, bad := decodeRequest([]byte(c.text))
		code := ""
		if bad != nil {
			code = bad.Code
		}
		if code != c.code || string(r.ID) != c.id {
			t.Errorf("%s: code %q, id %s", c.name, code, r.ID)
		}
	}
}

// Whatever a viewer sends, the answer is JSON, has its id or null, and is small.
func FuzzDecodeRequest(f *testing.F) {
	for _, seed := range []string{`{"id":"1","request":"ping"}`, `{"id":1e9,"request":"exec","command":"x"}`, `{"request":{}}`, `{"id":"\u0000<","request":"a","bps":-1}`, `{`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !isRequest(text) {
			return
		}
		r, bad := decodeRequest(text)
		out := response{ID: r.ID, OK: bad == nil, Error: bad}.encode()
		var back struct {
			ID    json.RawMessage
			Error *refusal
		}
		if err := json.Unmarshal(out, &back); err != nil || len(back.ID) == 0 {
			t.Fatalf("answer %s: %v", out, err)
		}
		if bad != nil && (back.Error == nil || back.Error.Code == "" || back.Error.Message == "") {
			t.Fatalf("answer %s tells nothing", out)
		}
		if len(out) > 8*requestBytesMax {
			t.Fatalf("%d bytes make an answer of %d", len(text), len(out))
		}
	})
}

func TestGrants(t *testing.T) {
	commands := map[string][]string{"left": {"/usr/bin/ptz", "left"}, "reboot": {"/sbin/reboot"}}
	g := Grants{"operator-*": {"bitrate", "exec:left"}, "admin": {"exec:*"}}
	if err := g.check(commands); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id, what string
		want     bool
	}{
		{"operator-1", "bitrate", true}, {"operator-1", "exec:left", true}, {"operator-1", "exec:reboot", false}, {"operator-1", "exec:*", false},
		{"admin", "exec:reboot", true}, {"admin", "bitrate", false}, {"admin2", "exec:reboot", false}, {"viewer", "bitrate", false}, {"", "bitrate", false},
	} {
		if got := g.allow(c.id, c.what); got != c.want {
			t.Errorf("%s may %s: %v", c.id, c.what, got)
		}
	}
	for _, bad := range []Grants{{"[": {"bitrate"}}, {"": {"bitrate"}}, {"a": {"exec:lift"}}, {"a": {"bitrates"}}, {"a": {"exec:"}}} {
		if bad.check(commands) == nil {
			t.Errorf("%v is taken", bad)
		}
	}
	if (Grants{}).check(map[string][]string{"x": nil}) == nil {
		t.Error("a command without a program is taken")
	}
}
