package tidy

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/heliograph-rtc/heliograph"

// tree is the project's text, from the disk or made up by a test.
type tree struct {
	fset  *token.FileSet
	files []*file // every text file
}

// file is one text file; syntax is nil when it is not Go.
type file struct {
	path   string // slash-separated, from the project's top
	text   []byte
	syntax *ast.File
}

// dir returns the folder, "." for the top.
func (f *file) dir() string { return path.Dir(f.path) }

// isTest tells Go tests apart, which many rules leave alone.
func (f *file) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// goFiles returns the Go files; product leaves tests out.
func (t *tree) goFiles(product bool) []*file {
	var list []*file
	for _, f := range t.files {
		if f.syntax != nil && !(product && f.isTest()) {
			list = append(list, f)
		}
	}
	return list
}

// at begins a finding: the place, then what is wrong and why.
func (t *tree) at(f *file, pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: ", f.path, t.fset.Position(pos).Line) + fmt.Sprintf(format, args...)
}

// newTree parses the given files. Binary ones are left out.
func newTree(texts map[string][]byte) (*tree, error) {
	t := &tree{fset: token.NewFileSet()}
	for name, text := range texts {
		if bytes.IndexByte(text, 0) >= 0 {
			continue
		}
		f := &file{path: name, text: text}
		if strings.HasSuffix(name, ".go") {
			syntax, err := parser.ParseFile(t.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			f.syntax = syntax
		}
		t.files = append(t.files, f)
	}
	slices.SortFunc(t.files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	return t, nil
}

// top is the project's top folder, seen from this package.
var top = filepath.Join("..", "..", "..")

// project reads what git tracks and what it would track, once for all tests.
var project = sync.OnceValues(func() (*tree, error) {
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = top
	names, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list files (these tests need git and a checkout): %w", err)
	}
	texts := make(map[string][]byte)
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(top, filepath.FromSlash(name)))
		if os.IsNotExist(err) {
			continue // deleted, not yet committed
		}
		if err != nil {
			return nil, err
		}
		texts[name] = text
	}
	return newTree(texts)
})

// inspect runs a check over the project.
func inspect(t *testing.T, check func(*tree) []string) {
	t.Helper()
	tree, err := project()
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range check(tree) {
		t.Error(finding)
	}
}

// example is a small tree and a word of each finding that a check must have with it.
type example struct {
	name  string
	files map[string]string
	want  []string
}

// prove runs a check over examples.
func prove(t *testing.T, check func(*tree) []string, examples []example) {
	t.Helper()
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			texts := make(map[string][]byte)
			for name, text := range e.files {
				texts[name] = []byte(text)
			}
			tree, err := newTree(texts)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, check(tree), e.want)
		})
	}
}

// expect compares findings with the words that they must hold, in order.
func expect(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d findings, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("finding %q does not say %q", got[i], want[i])
		}
	}
}
