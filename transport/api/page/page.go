// Package page is the viewer page: plain HTML, CSS and JavaScript modules in static/, embedded in the binary.
//
// Flow: a request names one of the embedded files ("/" is index.html); the file goes out with its type, an
// ETag of its contents and the security headers. The page's own requests (/api/channels, /whep/<channel>)
// are answered elsewhere: the owner of the listener mounts both.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// contentTypes are fixed here because the system's MIME tables differ between machines, and a module script
// with a wrong type is refused by every browser.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// contentSecurityPolicy lets the page run what was served with it, and nothing else: no inline code, no
// other origin, no frame around it.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

type file struct {
	body        []byte
	contentType string
	etag        string
}

// Handler serves the page's files below the path it is mounted at ("/"). It answers GET and HEAD; anything
// that is no file of the page is 404.
func Handler() http.Handler {
	files := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		if name == "" {
			name = "index.html"
		}
		f, ok := files[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the page is only read: use GET", http.StatusMethodNotAllowed)
			return
		}
		setHeaders(w.Header(), f)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
	})
}

func setHeaders(h http.Header, f file) {
	h.Set("Content-Type", f.contentType)
	h.Set("ETag", f.etag)
	h.Set("Cache-Control", "no-cache") // keep it, but ask each time: a new binary shows its new page at once
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "microphone=(self), camera=(), geolocation=()")
}

// load reads the embedded files once. They are part of the binary: an error here is a build that is broken.
func load() map[string]file {
	root, err := fs.Sub(static, "static")
	if err != nil {
		panic(err)
	}
	names, err := fs.Glob(root, "*")
	if err != nil {
		panic(err)
	}
	files := make(map[string]file, len(names))
	for _, name := range names {
		body, err := fs.ReadFile(root, name)
		if err != nil {
			panic(err)
		}
		kind, ok := contentTypes[path.Ext(name)]
		if !ok {
			kind = mime.TypeByExtension(path.Ext(name))
		}
		sum := sha256.Sum256(body)
		files[name] = file{body: body, contentType: kind, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	}
	return files
}
