package tidy

import (
	"go/ast"
	"testing"
)

// edgeFile is where goroutines start.
const edgeFile = "actors/edge.go"

// checkGoroutines finds go statements, and calls of a method Go with one argument (sync.WaitGroup,
// errgroup), which are the same thing by another name. The Go of actors.Group takes two.
func checkGoroutines(t *tree) []string {
	const reason = "goroutines start only in " + edgeFile + ", which recovers panics and waits for them; use actors.Edges or actors.Group"
	var findings []string
	for _, f := range t.goFiles(true) {
		if f.path == edgeFile {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				findings = append(findings, t.at(f, n.Pos(), "go statement: %s", reason))
			case *ast.CallExpr:
				if method, ok := n.Fun.(*ast.SelectorExpr); ok && method.Sel.Name == "Go" && len(n.Args) == 1 {
					findings = append(findings, t.at(f, n.Pos(), "Go call: %s", reason))
				}
			}
			return true
		})
	}
	return findings
}

// checkInit finds init functions.
func checkInit(t *tree) []string {
	var findings []string
	for _, f := range t.goFiles(false) {
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				findings = append(findings, t.at(f, fn.Pos(), "func init: nothing registers itself; say what is used where it is used"))
			}
		}
	}
	return findings
}

func TestGoroutines(t *testing.T) { inspect(t, checkGoroutines) }
func TestInit(t *testing.T)       { inspect(t, checkInit) }

func TestGoroutinesCheck(t *testing.T) {
	const bare = "package x\nfunc f() { go f() }\n"
	prove(t, checkGoroutines, []example{
		{"edge", map[string]string{edgeFile: bare}, nil},
		{"test", map[string]string{"actors/x_test.go": bare}, nil},
		{"group", map[string]string{"bench/x.go": "package x\nfunc f() { g.Go(\"name\", f) }\n"}, nil},
		{"statement", map[string]string{"media/x.go": bare}, []string{"media/x.go:2: go statement"}},
		{"other edge file", map[string]string{"actors/device/edge.go": bare}, []string{"go statement"}},
		{"inside a literal", map[string]string{"cmd/x.go": "package x\nvar f = func() { func() { go f() }() }\n"}, []string{"cmd/x.go:2: go statement"}},
		{"wait group", map[string]string{"bench/x.go": "package x\nfunc f() { wg.Go(f) }\n"}, []string{"bench/x.go:2: Go call"}},
	})
}

func TestInitCheck(t *testing.T) {
	prove(t, checkInit, []example{
		{"method", map[string]string{"media/x.go": "package x\nfunc (y) init() {}\n"}, nil},
		{"function", map[string]string{"media/x.go": "package x\nfunc init() {}\n"}, []string{"media/x.go:2: func init"}},
		{"in a test", map[string]string{"media/x_test.go": "package x\nfunc init() {}\n"}, []string{"func init"}},
	})
}
