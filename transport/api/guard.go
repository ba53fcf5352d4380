package api

// The checks before page, WHEP, overview and recordings, which need no signature: ownHost against DNS
// rebinding, exactOrigin against foreign pages, token against strangers.

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ownHost refuses a Host that is not a name of this server. A page that rebinds its DNS name to
// this address still sends its own name; an address in Host cannot be rebound.
func (d *doors) ownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.ToLower(strings.Trim(host, "[]"))
		if _, err := netip.ParseAddr(host); err != nil && !slices.Contains(d.PageHosts, host) {
			http.Error(w, "this server does not answer to that host name", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// exactOrigin lets a page of this very origin in, those that are configured, and programs that
// send no Origin. It answers the preflight.
func (d *doors) exactOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		if origin != "" {
			if origin != ownOrigin(r) && !slices.Contains(d.Origins, origin) {
				http.Error(w, "pages of this origin may not use this server", http.StatusForbidden)
				return
			}
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", "Location, Link, ETag, Retry-After, Accept-Post, Content-Range, Span-Start, Span-End")
		}
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			preflight(h, r, "GET, HEAD, POST, DELETE, OPTIONS")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func ownOrigin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// token demands the bearer token, when there is one, of every request (draft-ietf-wish-whep 4.7).
func (d *doors) token(next http.Handler) http.Handler {
	if d.WhepToken == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare([]byte(strings.TrimSpace(given)), []byte(d.WhepToken)) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="whep"`)
			http.Error(w, "the bearer token of --whep-token is needed", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
