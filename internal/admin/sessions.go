package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"smtplb/proxy"
)

// Bounds of a list of sessions.
const (
	sessionsListed  = 100 // unless limit says otherwise
	sessionsMost    = 1000
	sessionsTimeout = 10 * time.Second
)

// sessionList is the answer of /api/v1/sessions.
type sessionList struct {
	Open     int            `json:"open"`
	Matched  int            `json:"matched"`
	Sessions []sessionEntry `json:"sessions"`
}

type sessionEntry struct {
	ID        string         `json:"id"`
	Listener  string         `json:"listener"`
	Client    netip.AddrPort `json:"client"`
	Pool      string         `json:"pool"`
	Backend   string         `json:"backend"`
	Tier      int            `json:"tier"`
	Site      string         `json:"site"`
	Warm      bool           `json:"warm"`
	State     string         `json:"state"`
	Turn      string         `json:"turn"`
	StartedAt time.Time      `json:"started_at"`
	Duration  float64        `json:"duration_seconds"`
	Idle      float64        `json:"idle_seconds"`
	BytesUp   int64          `json:"bytes_up"`
	BytesDown int64          `json:"bytes_down"`
}

// serveSessions lists the running sessions, the one that has run longest first.
func (s *Server) serveSessions(w http.ResponseWriter, r *http.Request) {
	q, bad := sessionQuery(r.URL.RawQuery)
	if bad != nil {
		bad.write(w)
		return
	}
	answer := sessionList{Sessions: []sessionEntry{}}
	if s.Sessions != nil {
		ctx, cancel := context.WithTimeout(r.Context(), sessionsTimeout)
		defer cancel()
		list, err := s.Sessions(ctx, q)
		if err != nil {
			(&problem{Status: http.StatusServiceUnavailable, Detail: "the event loops did not answer in time: " + err.Error()}).write(w)
			return
		}
		answer.Open, answer.Matched = list.Open, list.Matched
		for i := range list.Sessions {
			answer.Sessions = append(answer.Sessions, newSessionEntry(&list.Sessions[i]))
		}
	}
	writeJSON(w, http.StatusOK, "application/json", answer)
}

func newSessionEntry(s *proxy.Session) sessionEntry {
	return sessionEntry{
		ID: s.ID, Listener: s.Listener, Client: s.Client, Pool: s.Pool, Backend: s.Backend, Tier: s.Tier, Site: s.Site,
		Warm: s.Warm, State: s.State, Turn: s.Turn, StartedAt: s.Started,
		Duration: s.Duration.Seconds(), Idle: s.Idle.Seconds(), BytesUp: s.BytesUp, BytesDown: s.BytesDown,
	}
}

// sessionQuery reads the parameters, or says all that is wrong with them.
func sessionQuery(raw string) (proxy.SessionQuery, *problem) {
	q := proxy.SessionQuery{Limit: sessionsListed}
	values, wrong := parameters(raw, "search", "pool", "backend", "limit")
	if text, given := values["limit"]; given {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > sessionsMost {
			wrong = append(wrong, fmt.Sprintf("limit %s: must be a whole number from 1 to %d", quote(text), sessionsMost))
		}
		q.Limit = n
	}
	if len(wrong) > 0 {
		return q, &problem{Status: http.StatusBadRequest, Detail: strings.Join(wrong, "; ")}
	}
	q.Match = sessionMatch(strings.ToLower(values["search"]), values["pool"], values["backend"])
	return q, nil
}

// sessionMatch tells which sessions are wanted; nil: all. The search is in lower
// case.
func sessionMatch(search, pool, backend string) func(*proxy.Session) bool {
	if search == "" && pool == "" && backend == "" {
		return nil
	}
	return func(s *proxy.Session) bool {
		if pool != "" && s.Pool != pool || backend != "" && s.Backend != backend {
			return false
		}
		if search == "" {
			return true
		}
		for _, text := range [...]string{s.Backend, s.Pool, s.Listener, s.Site, s.ID, s.Client.String()} {
			if strings.Contains(strings.ToLower(text), search) {
				return true
			}
		}
		return false
	}
}

// parameters are those of a query, and what is wrong with it: names that are none
// of the known, and those that stand there twice.
func parameters(raw string, known ...string) (values map[string]string, wrong []string) {
	all, err := url.ParseQuery(raw)
	if err != nil {
		wrong = append(wrong, "the query is not well-formed: "+err.Error())
	}
	values = map[string]string{}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		switch {
		case !slices.Contains(known, name):
			text := "there is no parameter " + quote(name)
			if meant := Near(name, known); len(meant) > 0 {
				text += ", perhaps " + meant[0] + " is meant"
			}
			wrong = append(wrong, text+": "+strings.Join(known, ", ")+" are known")
		case len(all[name]) > 1:
			wrong = append(wrong, name+": must be there once")
		default:
			values[name] = all[name][0]
		}
	}
	return values, wrong
}
