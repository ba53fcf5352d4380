package tidy

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// edges are the first hops of a path that are no actors: where a message enters. "start" is the
// function that starts a tree and may ask it (actors.md, convention 7).
var edges = []string{"source", "peer", "api", "backplane", "admin", "socket", "start"}

// message is a type of package messages with its paths.
type message struct {
	place string // "file:line: "
	paths [][]string
}

// takes tells whether the message's paths lead to one of the actors.
func (m *message) takes(actors []string) bool {
	return slices.ContainsFunc(m.paths, func(hops []string) bool {
		return slices.ContainsFunc(hops[1:], func(hop string) bool { return slices.Contains(actors, hop) })
	})
}

// arm is one case for a message's type, in a type switch over what came through the mailbox:
// ctx.Message() or a parameter. Its owner is the receiver of the method, or else the file, for an
// actor's states live in the actor's file. A receiver called root is the actor named after its tree.
type arm struct {
	message string
	owners  []string
	place   string
}

// checkPaths holds the Path lines in package messages against the case arms of the actors: every hop
// after the first has an arm, and every arm is a hop.
func checkPaths(t *tree) []string {
	known, arms, actors := messagesOf(t), armsOf(t), actorsOf(t)
	var findings []string
	for _, name := range slices.Sorted(maps.Keys(known)) {
		m := known[name]
		for _, hops := range m.paths {
			for i, hop := range hops {
				switch {
				case i == 0 && !slices.Contains(edges, hop) && !actors[hop]:
					findings = append(findings, fmt.Sprintf("%sPath of %s begins at %q, which is neither an actor nor one of the edges %v", m.place, name, hop, edges))
				case i > 0 && !slices.ContainsFunc(arms, func(a arm) bool { return a.message == name && slices.Contains(a.owners, hop) }):
					findings = append(findings, fmt.Sprintf("%sPath of %s leads to %s, which has no arm for it: the path says who takes a message, so add the arm or correct the path", m.place, name, hop))
				}
			}
		}
	}
	for _, a := range arms {
		switch m := known[a.message]; {
		case m == nil:
			findings = append(findings, fmt.Sprintf("%sarm for messages.%s, which does not exist", a.place, a.message))
		case !m.takes(a.owners):
			findings = append(findings, fmt.Sprintf("%sarm for messages.%s, whose paths do not lead to %s: write the path on the message", a.place, a.message, a.owners[0]))
		}
	}
	return findings
}

// messagesOf returns the exported types of package messages by name.
func messagesOf(t *tree) map[string]*message {
	known := make(map[string]*message)
	for _, f := range t.goFiles(true) {
		if f.dir() != "messages" {
			continue
		}
		for _, decl := range f.syntax.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.TYPE {
				continue
			}
			for _, spec := range gen.Specs {
				spec := spec.(*ast.TypeSpec)
				if spec.Name.IsExported() {
					known[spec.Name.Name] = &message{t.at(f, spec.Pos(), ""), pathsOf(gen.Doc.Text() + spec.Doc.Text())}
				}
			}
		}
	}
	return known
}

// pathsOf reads the Path lines of a doc comment.
func pathsOf(doc string) [][]string {
	var paths [][]string
	for line := range strings.SplitSeq(doc, "\n") {
		text, ok := strings.CutPrefix(line, "Path: ")
		if !ok {
			continue
		}
		hops := strings.Split(text, "->")
		for i := range hops {
			hops[i] = strings.TrimSpace(hops[i])
		}
		paths = append(paths, hops)
	}
	return paths
}

// actorFiles returns the files of the two trees.
func actorFiles(t *tree) []*file {
	var list []*file
	for _, f := range t.goFiles(true) {
		if within(f.dir(), "actors/device") || within(f.dir(), "actors/service") {
			list = append(list, f)
		}
	}
	return list
}

// actorsOf returns the names that an actor may go by: the files' and their types'.
func actorsOf(t *tree) map[string]bool {
	names := make(map[string]bool)
	for _, f := range actorFiles(t) {
		names[stem(f)], names[path.Base(f.dir())] = true, true
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				names[spec.Name.Name] = true
			}
			return true
		})
	}
	return names
}

// armsOf returns the case arms of the actors that name a type of package messages.
func armsOf(t *tree) []arm {
	var arms []arm
	for _, f := range actorFiles(t) {
		alias := messagesAlias(f)
		for _, decl := range f.syntax.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			owners := append(receiver(f, fn), stem(f))
			for _, expr := range received(fn) {
				if name := qualified(expr, alias); name != "" {
					arms = append(arms, arm{name, owners, t.at(f, expr.Pos(), "")})
				}
			}
		}
	}
	return arms
}

// received returns the types in the arms of a function's switches over what came by the mailbox.
func received(fn *ast.FuncDecl) []ast.Expr {
	parameters := make(map[string]bool)
	for _, field := range fn.Type.Params.List {
		for _, name := range field.Names {
			parameters[name.Name] = true
		}
	}
	var types []ast.Expr
	ast.Inspect(fn, func(n ast.Node) bool {
		if s, ok := n.(*ast.TypeSwitchStmt); ok && fromMailbox(s, parameters) {
			for _, clause := range s.Body.List {
				types = append(types, clause.(*ast.CaseClause).List...)
			}
		}
		return true
	})
	return types
}

// fromMailbox tells whether a type switch looks at ctx.Message() or at a parameter.
func fromMailbox(s *ast.TypeSwitchStmt, parameters map[string]bool) bool {
	var assertion ast.Expr
	switch assign := s.Assign.(type) {
	case *ast.AssignStmt:
		assertion = assign.Rhs[0]
	case *ast.ExprStmt:
		assertion = assign.X
	}
	switch x := assertion.(*ast.TypeAssertExpr).X.(type) {
	case *ast.Ident:
		return parameters[x.Name]
	case *ast.CallExpr:
		method, ok := x.Fun.(*ast.SelectorExpr)
		return ok && method.Sel.Name == "Message"
	}
	return false
}

// messagesAlias returns the name under which a file imports package messages.
func messagesAlias(f *file) string {
	for _, spec := range f.syntax.Imports {
		if strings.Trim(spec.Path.Value, "`\"") == module+"/messages" && spec.Name != nil {
			return spec.Name.Name
		}
	}
	return "messages"
}

// receiver returns the actor that a method belongs to, as a list of one, empty for a function.
func receiver(f *file, fn *ast.FuncDecl) []string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return nil
	}
	expr := fn.Recv.List[0].Type
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
	name, ok := expr.(*ast.Ident)
	switch {
	case !ok:
		return nil
	case name.Name == "root":
		return []string{path.Base(f.dir())}
	}
	return []string{name.Name}
}

// qualified returns X of messages.X or *messages.X; empty for anything else, constants among it.
func qualified(expr ast.Expr, alias string) string {
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
	selector, ok := expr.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if pkg, ok := selector.X.(*ast.Ident); !ok || pkg.Name != alias {
		return ""
	}
	return selector.Sel.Name
}

// stem returns a file's name without its ending.
func stem(f *file) string { return strings.TrimSuffix(path.Base(f.path), ".go") }

func TestPaths(t *testing.T) { inspect(t, checkPaths) }

func TestPathsCheck(t *testing.T) {
	const header = "package device\nimport \"" + module + "/messages\"\n"
	typed := func(paths string) string {
		return "package messages\n\n// Offer is one.\n//\n" + paths + "type Offer struct{}\n"
	}
	receive := func(actor, arm string) string {
		return header + "type " + actor + " struct{}\nfunc (a *" + actor + ") Receive(m any) {\n\tswitch m.(type) {\n\tcase " + arm + ":\n\t}\n}\n"
	}
	files := func(message string, actors ...string) map[string]string {
		m := map[string]string{"messages/x.go": message}
		for i := 0; i < len(actors); i += 2 {
			m["actors/device/"+actors[i]] = actors[i+1]
		}
		return m
	}
	const straight = "// Path: peer -> viewer\n"
	prove(t, checkPaths, []example{
		{"pointer arm", files(typed(straight), "viewer.go", receive("viewer", "*messages.Offer")), nil},
		{"value arm among others", files(typed(straight), "viewer.go", receive("viewer", "int, messages.Offer")), nil},
		{"other file", files(typed(straight), "states.go", receive("viewer", "*messages.Offer")), nil},
		{"state in the actor's file", files(typed(straight), "viewer.go", receive("streaming", "*messages.Offer")), nil},
		{"two hops, one path each", files(typed("// Path: viewers -> viewer\n// Path: peer -> viewers\n"),
			"viewer.go", receive("viewer", "*messages.Offer"), "viewers.go", receive("viewers", "*messages.Offer")), nil},
		{"no arm", files(typed(straight), "viewer.go", receive("viewer", "int")), []string{"Path of Offer leads to viewer, which has no arm"}},
		{"no arm in the middle", files(typed("// Path: peer -> viewers -> viewer\n"), "viewer.go", receive("viewer", "*messages.Offer")), []string{"leads to viewers"}},
		{"unknown sender", files(typed("// Path: moon -> viewer\n"), "viewer.go", receive("viewer", "*messages.Offer")), []string{`begins at "moon"`}},
		{"arm off the path", files(typed(straight), "viewer.go", receive("viewer", "*messages.Offer"), "session.go", receive("session", "*messages.Offer")),
			[]string{"actors/device/session.go:6: arm for messages.Offer, whose paths do not lead to session"}},
		{"arm at the first hop", files(typed("// Path: session -> viewer\n"), "viewer.go", receive("viewer", "*messages.Offer"), "session.go", receive("session", "*messages.Offer")),
			[]string{"do not lead to session"}},
		{"type without a path", files(typed(""), "viewer.go", receive("viewer", "*messages.Offer")), []string{"do not lead to viewer"}},
		{"type that is not there", files("package messages\n", "viewer.go", receive("viewer", "*messages.Offer")), []string{"does not exist"}},
		{"root under the tree's name", files(typed("// Path: peer -> device\n"), "root.go", receive("root", "*messages.Offer")), nil},
		{"answer to a question", files(typed(""), "door.go",
			header+"func ask() {\n\treply := any(nil)\n\tswitch reply.(type) {\n\tcase *messages.Offer:\n\t}\n}\n"), nil},
		{"state with a parameter", files(typed(straight), "viewer.go",
			header+"type viewer struct{}\nfunc (v *viewer) idle(msg any) {\n\tswitch m := msg.(type) {\n\tcase *messages.Offer:\n\t\t_ = m\n\t}\n}\n"), nil},
		{"message of the context", files(typed(""), "viewer.go",
			header+"type viewer struct{}\nfunc (v *viewer) Receive(ctx any) {\n\tswitch ctx.Message().(type) {\n\tcase *messages.Offer:\n\t}\n}\n"), []string{"do not lead to viewer"}},
		{"under another name", files(typed(straight), "viewer.go", strings.NewReplacer("import ", "import msg ", "*messages.Offer", "*msg.Offer").Replace(receive("viewer", "*messages.Offer"))), nil},
	})
}
