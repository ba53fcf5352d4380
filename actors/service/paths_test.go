package service

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var pathLine = regexp.MustCompile(`(?m)^Path: (.+)$`)

// The actors of the service and the files they are in.
var actorFiles = map[string]string{
	"service": "root.go", "registry": "registry.go", "relay": "relay.go",
	"channel": "channel.go", "connection": "connection.go", "whep": "whep.go", "alexa": "alexa.go",
}

// TestMessagePaths holds the paths written on the messages against the case arms: every actor on a
// path but the first has an arm for the message, and no arm is for a message that does not pass there.
func TestMessagePaths(t *testing.T) {
	paths := map[string][]string{} // message -> actors that it reaches
	for _, name := range []string{"control.go", "channel.go", "connection.go", "resource.go", "alexa.go", "stream.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", "messages", name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				for _, line := range pathLine.FindAllStringSubmatch(d.Doc.Text(), -1) {
					message := d.Specs[0].(*ast.TypeSpec).Name.Name
					paths[message] = append(paths[message], strings.Split(line[1], " -> ")[1:]...)
				}
			}
		}
	}
	if len(paths) < 15 {
		t.Fatalf("only %d messages with a path were found", len(paths))
	}
	arms := map[string][]string{} // actor -> messages
	for name, file := range actorFiles {
		arms[name] = armsOf(t, file)
	}
	for message, reached := range paths {
		for _, name := range reached {
			if !slices.Contains(arms[name], message) {
				t.Errorf("%s says that it reaches %s, which has no arm for it", message, name)
			}
		}
	}
	for name, all := range arms {
		for _, message := range all {
			if !slices.Contains(paths[message], name) {
				t.Errorf("%s has an arm for %s, whose path does not name it", name, message)
			}
		}
	}
}

// armsOf lists the messages in the arms of every switch over the message in hand.
func armsOf(t *testing.T, file string) (messages []string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		s, ok := n.(*ast.TypeSwitchStmt)
		if !ok || !overMessage(s.Assign) {
			return true
		}
		for _, arm := range s.Body.List {
			for _, kind := range arm.(*ast.CaseClause).List {
				if p, ok := kind.(*ast.StarExpr); ok {
					if sel, ok := p.X.(*ast.SelectorExpr); ok && sel.X.(*ast.Ident).Name == "messages" {
						messages = append(messages, sel.Sel.Name)
					}
				}
			}
		}
		return true
	})
	return messages
}

func overMessage(assign ast.Stmt) (found bool) {
	ast.Inspect(assign, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		found = found || ok && sel.Sel.Name == "Message"
		return true
	})
	return found
}
