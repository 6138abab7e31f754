package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"smtplb/balancer"
)

// eventsKept is how many events are remembered: a bad day's, and little memory.
const eventsKept = 200

// The kinds of events.
const (
	kindBackend = "backend" // its state changed by itself
	kindTier    = "tier"    // new sessions go to another tier
	kindReload  = "reload"  // the configuration was read again
	kindVerb    = "verb"    // a person took a backend out or brought it back
	kindDNS     = "dns"     // names that relays are found under stand for others, fail, or are well again
)

// event is something that happened. openapi.yaml says what each field means.
type event struct {
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Pool    string    `json:"pool"`
	Backend string    `json:"backend"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Reason  string    `json:"reason"`
	Text    string    `json:"text"`
}

// eventList is the answer of /api/v1/events.
type eventList struct {
	Events []event `json:"events"`
}

// events are the last that happened. The zero value is ready; safe for concurrent
// use.
type events struct {
	mu   sync.Mutex
	last uint64 // number of the newest
	ring [eventsKept]event
}

// add gives an event its number and forgets the oldest.
func (e *events) add(v event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	v.Seq = e.last
	e.ring[v.Seq%eventsKept] = v
}

// after are the events with a higher number, the oldest first. A number that none
// has yet was another process's: then they are all.
func (e *events) after(seq uint64) []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	if seq > e.last {
		seq = 0
	}
	if e.last > eventsKept {
		seq = max(seq, e.last-eventsKept)
	}
	list := make([]event, 0, e.last-seq)
	for n := seq + 1; n <= e.last; n++ {
		list = append(list, e.ring[n%eventsKept])
	}
	return list
}

// BackendChanged takes in that a backend changed its state. Draining and disabled
// are states that only a person brings about and ends.
func (s *Server) BackendChanged(c balancer.Change) {
	v := event{
		Time: c.Time, Kind: kindBackend, Pool: c.Pool, Backend: c.Backend,
		From: c.From.String(), To: c.To.String(), Reason: c.Reason,
	}
	v.Text = fmt.Sprintf("%s of %s: %s -> %s: %s", v.Backend, v.Pool, v.From, v.To, v.Reason)
	if ordered := []balancer.State{balancer.Draining, balancer.Disabled}; slices.Contains(ordered, c.From) || slices.Contains(ordered, c.To) {
		v.Kind = kindVerb
		v.Text += " by an administrator"
	}
	s.events.add(v)
}

// TierChanged takes in that new sessions go to another tier of a pool.
func (s *Server) TierChanged(c balancer.TierChange) {
	s.events.add(event{
		Time: c.Time, Kind: kindTier, Pool: c.Pool, From: strconv.Itoa(c.From), To: strconv.Itoa(c.To), Reason: c.Reason,
		Text: fmt.Sprintf("new sessions of %s go to tier %d, no more to tier %d: %s", c.Pool, c.To, c.From, c.Reason),
	})
}

// ReloadEnded takes in that the configuration was read again by somebody, such as
// SIGHUP, and what came of it.
func (s *Server) ReloadEnded(by string, done Reloaded, err error) {
	s.refused.Store(err != nil)
	v := event{Time: s.time(), Kind: kindReload, To: "ok"}
	switch {
	case err != nil:
		mistakes := Mistakes(err)
		v.To, v.Reason = "refused", mistakes[0]
		v.Text = fmt.Sprintf("reload by %s refused, nothing changed: %s", by, some(mistakes))
	case len(done.Changes) == 0:
		v.Text = fmt.Sprintf("reloaded by %s: nothing is different", by)
	default:
		v.Text = fmt.Sprintf("reloaded by %s: %s", by, some(done.Changes))
	}
	if len(done.NeedsRestart) > 0 {
		v.Text += "; needs a restart: " + some(done.NeedsRestart)
	}
	s.events.add(v)
}

// some are the first of many texts, on one line.
func some(texts []string) string {
	const most = 5
	if left := len(texts) - most; left > 0 {
		return strings.Join(texts[:most], "; ") + fmt.Sprintf("; and %d more", left)
	}
	return strings.Join(texts, "; ")
}

// serveEvents lists what happened lately, the oldest first.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	values, wrong := parameters(r.URL.RawQuery, "after")
	var after uint64
	if text, given := values["after"]; given {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("after %s: must be the seq of an event, or 0", quote(text)))
		}
		after = n
	}
	if len(wrong) > 0 {
		(&problem{Status: http.StatusBadRequest, Detail: strings.Join(wrong, "; ")}).write(w)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", eventList{s.events.after(after)})
}
