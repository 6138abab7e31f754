package sink

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Handler answers questions about the sink, in JSON:
//
//	GET /report                 a Report
//	GET /runs/{run}             a mail.Holding: which messages of a run are here; the run in hex
//	GET /runs/{run}/relays      how many of them each relay took, by name
//
// It changes nothing, and does not ask who wants to know.
func (s *Sink) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, s.Report())
	})
	mux.HandleFunc("GET /runs/{run}", withRun(func(run uint64) any { return s.receipts.Of(run) }))
	mux.HandleFunc("GET /runs/{run}/relays", withRun(func(run uint64) any { return s.OfRun(run) }))
	return mux
}

// OfRun tells how many messages of a run each relay has taken, copies counted.
func (s *Sink) OfRun(run uint64) map[string]int64 {
	relays := make(map[string]int64, len(s.relays))
	for _, r := range s.relays {
		relays[r.Name] = r.counts.ofRun(run)
	}
	return relays
}

func withRun(of func(run uint64) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		run, err := strconv.ParseUint(r.PathValue("run"), 16, 64)
		if err != nil {
			answer(w, http.StatusBadRequest, map[string]string{"error": "the run must be its number in hex, as in the messages"})
			return
		}
		answer(w, http.StatusOK, of(run))
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever asked may have gone
}
