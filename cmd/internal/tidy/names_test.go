package tidy

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	emptyWord    = regexp.MustCompile(`(^[mM]anager|^[hH]andler|^[iI]mpl|Manager|Handler|Impl)($|[A-Z0-9_])`)
	emptyPackage = []string{"util", "utils", "common", "type", "types", "helper", "helpers"}
)

// checkNames finds type names and package or file names that say nothing.
func checkNames(t *tree) []string {
	var findings []string
	for _, f := range t.goFiles(false) {
		name := strings.TrimSuffix(stem(f), "_test")
		if slices.Contains(emptyPackage, f.syntax.Name.Name) || slices.Contains(emptyPackage, name) {
			findings = append(findings, t.at(f, f.syntax.Name.Pos(), "a package or file called util, common, types or helpers holds anything: name it after what it does"))
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && emptyWord.MatchString(spec.Name.Name) {
				findings = append(findings, t.at(f, spec.Pos(), "type %s: no Manager, Handler or Impl; name it after what it is", spec.Name.Name))
			}
			return true
		})
	}
	return findings
}

// The alternatives keep this file free of what it looks for.
var (
	machinePath  = regexp.MustCompile(`/(root|work)/|/(home|Users)/[a-z]`)
	registryHost = regexp.MustCompile(`\b(proxy|registry|deb)\.[a-z]+\.(org|com)\b`)
)

// checkPlaces finds what belongs to one machine: absolute folders and the hosts packages come from.
func checkPlaces(t *tree) []string {
	var findings []string
	for _, f := range t.files {
		if f.path == "go.sum" {
			continue
		}
		number := 0
		for line := range strings.Lines(string(f.text)) {
			number++
			if found := machinePath.FindString(line); found != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: %s is a folder of one machine: say it relative to the project", f.path, number, found))
			}
			if found := registryHost.FindString(line); found != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: %s is a registry host: leave the choice to the user's settings", f.path, number, found))
			}
		}
	}
	return findings
}

func TestNames(t *testing.T)  { inspect(t, checkNames) }
func TestPlaces(t *testing.T) { inspect(t, checkPlaces) }

func TestNamesCheck(t *testing.T) {
	typed := func(name string) map[string]string {
		return map[string]string{"media/x.go": "package x\ntype " + name + " struct{}\n"}
	}
	prove(t, checkNames, []example{
		{"fine", typed("implicit"), nil},
		{"handler function", map[string]string{"media/x.go": "package x\nfunc Handler() {}\n"}, nil},
		{"Manager", typed("SessionManager"), []string{"media/x.go:2: type SessionManager"}},
		{"handler", typed("handler"), []string{"type handler"}},
		{"Handler inside", typed("offerHandlerConfig"), []string{"type offerHandlerConfig"}},
		{"Impl", typed("sourceImpl"), []string{"type sourceImpl"}},
		{"inside a function", map[string]string{"media/x.go": "package x\nfunc f() { type impl int }\n"}, []string{"type impl"}},
		{"package", map[string]string{"media/common/x.go": "package common\n"}, []string{"util, common"}},
		{"file", map[string]string{"media/helpers.go": "package media\n"}, []string{"util, common"}},
		{"test file", map[string]string{"media/util_test.go": "package media\n"}, []string{"util, common"}},
	})
}

func TestPlacesCheck(t *testing.T) {
	slash, dot := "/", "." // so that this file does not hold what it looks for
	prove(t, checkPlaces, []example{
		{"fine", map[string]string{"README.md": "see ./deploy and " + "https://example" + dot + "org/\n"}, nil},
		{"checksums", map[string]string{"go.sum": "registry" + dot + "example" + dot + "org\n"}, nil},
		{"home", map[string]string{"README.md": "\ncd " + slash + "home" + slash + "jo/x\n"}, []string{"README.md:2:"}},
		{"work", map[string]string{"Makefile": "cd " + slash + "work" + slash + "x\n"}, []string{"folder of one machine"}},
		{"registry", map[string]string{"a/lock.json": "https://registry" + dot + "npmjs" + dot + "org/x\n"}, []string{"registry host"}},
	})
}
