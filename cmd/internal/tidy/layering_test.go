package tidy

import (
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers are the top folders that hold packages; an import goes to a lower layer only.
var layers = map[string]int{"messages": 0, "media": 1, "transport": 1, "actors": 2, "bench": 3, "cmd": 4}

// arrow is the rule that most findings cite.
const arrow = "the one arrow is messages <- media, transport/* <- actors <- bench <- cmd"

// library says who may import a library, besides bench, which may import what it measures against.
type library struct {
	prefix string
	users  []string
	reason string
}

var libraries = []library{
	{"github.com/asynkron/protoactor-go", []string{"actors"}, "only actors speak proto.actor, so that its pitfalls are met in one place"},
	{"github.com/pion/webrtc/v4/pkg/media", []string{"media", "transport/rtc"}, "pion's media readers and writers are the media layer's"},
	{"github.com/pion/webrtc", []string{"transport/rtc"}, "peer connections live in transport/rtc; everybody else sees its blocking calls"},
	{"github.com/pion/turn", []string{"transport/relay"}, "STUN and TURN live in transport/relay"},
	{"github.com/gobwas/ws", []string{"transport/signaling", "transport/api"}, "WebSockets are spoken by the client in transport/signaling and the doors in transport/api"},
	{"github.com/nats-io", []string{"transport/backplane"}, "NATS is the backplane's choice and hidden behind it"},
}

// checkLayering holds imports against design.md section 2. Tests may reach sideways and use any
// library, for they join two real ends, but never upwards.
func checkLayering(t *tree) []string {
	var findings []string
	for _, f := range t.goFiles(false) {
		if _, known := layers[layerOf(f.dir())]; !known {
			findings = append(findings, t.at(f, f.syntax.Package, "no package may live in %q: the top level is fixed (design.md section 2)", f.dir()))
			continue
		}
		for _, spec := range f.syntax.Imports {
			name := strings.Trim(spec.Path.Value, "`\"")
			if reason := forbidden(f.dir(), name, f.isTest()); reason != "" {
				findings = append(findings, t.at(f, spec.Pos(), "%s imports %s: %s", f.dir(), name, reason))
			}
		}
	}
	return findings
}

// forbidden returns why the package in dir may not import name; empty when it may.
func forbidden(dir, name string, test bool) string {
	ours, ok := strings.CutPrefix(name, module+"/")
	if !ok {
		return foreign(dir, name, test)
	}
	from, to := layers[layerOf(dir)], layers[layerOf(ours)]
	switch {
	case layerOf(dir) == "messages" && !test:
		return "messages imports nothing of ours, so that every layer can speak it"
	case layerOf(ours) == "bench" && from < layers["bench"]:
		return "nothing but cmd imports bench"
	case to > from:
		return arrow
	case test || to < from:
		return ""
	case from == 1 && part(dir) != part(ours) && !leaf(dir, ours):
		return "packages of media and transport do not import one another; only transport/api may import the leaves transport/aws and transport/signaling"
	case layerOf(dir) == "actors" && strings.Count(ours, "/") > 0 && part(dir) != part(ours):
		return "the device's and the service's actors know only the kernel and messages, so that neither binary links the other"
	}
	return ""
}

// foreign judges the import of a library.
func foreign(dir, name string, test bool) string {
	for _, l := range libraries {
		if !within(name, l.prefix) || test || layerOf(dir) == "bench" {
			continue
		}
		if slices.ContainsFunc(l.users, func(user string) bool { return within(dir, user) }) {
			return "" // the first that fits decides
		}
		return l.reason
	}
	return ""
}

// leaf tells the two imports inside transport that are allowed.
func leaf(dir, ours string) bool {
	return within(dir, "transport/api") && (ours == "transport/aws" || ours == "transport/signaling")
}

// layerOf returns the top folder.
func layerOf(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

// part returns what an import may stay within: transport/api with transport/api/page, all of media.
func part(dir string) string {
	elements := strings.SplitN(dir, "/", 3)
	if elements[0] == "media" || len(elements) == 1 {
		return elements[0]
	}
	return path.Join(elements[0], elements[1])
}

// within tells whether an import path or folder is prefix or below it.
func within(name, prefix string) bool {
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}

// checkDeviceDeps looks for what the device's binary must not link, in the list of all packages
// that it does link.
func checkDeviceDeps(deps []string) []string {
	banned := []string{"github.com/nats-io"}
	for _, ours := range []string{"actors/service", "media/fmp4", "media/matroska", "media/recorder", "transport/api", "transport/backplane", "transport/relay", "bench"} {
		banned = append(banned, module+"/"+ours)
	}
	var findings []string
	for _, dep := range deps {
		if slices.ContainsFunc(banned, func(b string) bool { return within(dep, b) }) {
			findings = append(findings, fmt.Sprintf("cmd/heliograph-device links %s: the device is small and links neither NATS nor any part of the service", dep))
		}
	}
	return findings
}

func TestLayering(t *testing.T) { inspect(t, checkLayering) }

func TestDeviceLinksNoService(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "./cmd/heliograph-device")
	list.Dir = top
	out, err := list.Output()
	if err != nil {
		t.Fatalf("list the device's packages: %v", err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+"/messages") {
		t.Fatal("the list of the device's packages lacks messages; is it a list at all?")
	}
	for _, finding := range checkDeviceDeps(deps) {
		t.Error(finding)
	}
}

func TestDeviceDepsCheck(t *testing.T) {
	expect(t, checkDeviceDeps([]string{"fmt", module + "/transport/admin", module + "/actors/device"}), nil)
	expect(t, checkDeviceDeps([]string{"github.com/nats-io/nats.go", module + "/transport/api/page", module + "/actors/service"}),
		[]string{"nats.go", "transport/api/page", "actors/service"})
}

func TestLayeringCheck(t *testing.T) {
	source := func(imports ...string) string {
		text := "package x\n"
		for _, name := range imports {
			text += fmt.Sprintf("import _ %q\n", name)
		}
		return text
	}
	one := func(name, dir, imported string, want ...string) example {
		return example{name, map[string]string{dir: source(imported)}, want}
	}
	prove(t, checkLayering, []example{
		one("downwards", "actors/device/x.go", module+"/transport/rtc"),
		one("kernel", "actors/device/x.go", module+"/actors"),
		one("leaf", "transport/api/x.go", module+"/transport/aws"),
		one("own sub-package", "transport/api/x.go", module+"/transport/api/page"),
		one("bench of cmd", "cmd/heliograph-load/x.go", module+"/bench"),
		one("sideways in a test", "transport/signaling/x_test.go", module+"/transport/aws"),
		one("library in its place", "transport/backplane/x.go", "github.com/nats-io/nats.go"),
		one("library in bench", "bench/x.go", "github.com/pion/webrtc/v4"),
		one("upwards", "transport/rtc/x.go", module+"/actors", "the one arrow"),
		one("upwards in a test", "transport/rtc/x_test.go", module+"/actors/device", "the one arrow"),
		one("sideways", "transport/rtc/x.go", module+"/transport/signaling", "do not import one another"),
		one("media and transport", "media/x.go", module+"/transport/rtc", "do not import one another"),
		one("messages", "messages/x.go", module+"/messages/y", "imports nothing of ours"),
		one("two trees", "actors/device/x.go", module+"/actors/service", "neither binary links the other"),
		one("bench below cmd", "actors/x.go", module+"/bench", "nothing but cmd imports bench"),
		one("cmd below cmd", "bench/x.go", module+"/cmd/internal/settings", "the one arrow"),
		one("proto.actor", "cmd/heliograph-device/x.go", "github.com/asynkron/protoactor-go/actor", "only actors speak proto.actor"),
		one("webrtc", "transport/api/x.go", "github.com/pion/webrtc/v4", "transport/rtc"),
		one("turn", "transport/rtc/x.go", "github.com/pion/turn/v5", "transport/relay"),
		one("websocket", "actors/service/x.go", "github.com/gobwas/ws/wsutil", "transport/signaling"),
		one("NATS", "transport/api/x.go", "github.com/nats-io/nats-server/v2/server", "backplane"),
		one("new top folder", "pkg/x.go", "fmt", "the top level is fixed"),
		one("top", "x.go", "fmt", "the top level is fixed"),
	})
}
