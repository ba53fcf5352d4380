package api

import (
	"context"
	"net/http"

	"go.uber.org/zap"
)

// overview tells the page which channels there are and who is connected.
func (d *doors) overview(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "read only", http.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), backendWait)
	defer cancel()
	list, err := d.Backend.Overview(ctx)
	if err != nil {
		d.Log.Warn("overview failed", zap.Error(err))
		http.Error(w, "the service cannot answer right now", http.StatusServiceUnavailable)
		return
	}
	d.tell(w, list, nil)
}
