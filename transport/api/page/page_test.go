package page_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/heliograph-rtc/heliograph/transport/api/page"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ask(t *testing.T, method, target string, header http.Header) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	page.Handler().ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

// TestFilesAreServed walks from the page to every file it names, as a browser does.
func TestFilesAreServed(t *testing.T) {
	types := map[string]string{
		"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml", "": "text/html; charset=utf-8",
	}
	reference := regexp.MustCompile(`(?:src|href)="([\w.]+)"|from "\./([\w.]+)"`)
	seen := map[string]bool{}
	for todo := []string{""}; len(todo) > 0; todo = todo[1:] {
		name := todo[0]
		if seen[name] {
			continue
		}
		seen[name] = true
		got, body := ask(t, http.MethodGet, "/"+name, nil)
		if got.StatusCode != http.StatusOK {
			t.Errorf("/%s: status %d", name, got.StatusCode)
		}
		_, kind, _ := strings.Cut(name, ".")
		if want := types[kind]; got.Header.Get("Content-Type") != want {
			t.Errorf("/%s: content type %q, want %q", name, got.Header.Get("Content-Type"), want)
		}
		for _, m := range reference.FindAllStringSubmatch(body, -1) {
			todo = append(todo, m[1]+m[2])
		}
	}
	for _, name := range []string{"page.css", "theme.js", "page.js", "connection.js", "whep.js", "mark.svg"} {
		if !seen[name] {
			t.Errorf("%s is not reached from the page", name)
		}
	}
}

// TestPolicy: nothing on the page needs more than its policy allows, so that the policy can stay strict.
func TestPolicy(t *testing.T) {
	got, body := ask(t, http.MethodGet, "/", nil)
	policy := got.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("the policy is open: %q", policy)
	}
	for _, never := range []*regexp.Regexp{
		regexp.MustCompile(`\son\w+="`), regexp.MustCompile(`\sstyle="`), regexp.MustCompile(`<style`),
		regexp.MustCompile(`<script>`), regexp.MustCompile(`(?:src|href)="(?:https?:)?//`),
	} {
		if found := never.FindString(body); found != "" {
			t.Errorf("the page holds %q, which its policy forbids", found)
		}
	}
}

func TestRevalidation(t *testing.T) {
	first, _ := ask(t, http.MethodGet, "/page.js", nil)
	tag := first.Header.Get("ETag")
	if tag == "" || first.Header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("ETag %q, Cache-Control %q", tag, first.Header.Get("Cache-Control"))
	}
	again, body := ask(t, http.MethodGet, "/page.js", http.Header{"If-None-Match": {tag}})
	if again.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("with its own ETag: status %d, %d bytes", again.StatusCode, len(body))
	}
	other, _ := ask(t, http.MethodGet, "/page.css", http.Header{"If-None-Match": {tag}})
	if other.StatusCode != http.StatusOK {
		t.Errorf("with another file's ETag: status %d", other.StatusCode)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{http.MethodHead, "/", http.StatusOK},
		{http.MethodGet, "/static/index.html", http.StatusNotFound},
		{http.MethodGet, "/../page.go", http.StatusNotFound},
		{http.MethodGet, "/none.js", http.StatusNotFound},
		{http.MethodPost, "/none", http.StatusNotFound},
		{http.MethodPost, "/", http.StatusMethodNotAllowed},
		{http.MethodDelete, "/page.js", http.StatusMethodNotAllowed},
	} {
		got, _ := ask(t, c.method, c.path, nil)
		if got.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, got.StatusCode, c.status)
		}
	}
}
