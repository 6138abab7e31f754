package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// sessionsView is what /api/v1/sessions answers.
type sessionsView struct {
	Open     int           `json:"open"`
	Matched  int           `json:"matched"`
	Sessions []sessionView `json:"sessions"` // nil: another program's answer
}

type sessionView struct {
	ID        string  `json:"id"`
	Client    string  `json:"client"`
	Pool      string  `json:"pool"`
	Backend   string  `json:"backend"`
	Warm      bool    `json:"warm"`
	State     string  `json:"state"`
	Turn      string  `json:"turn"`
	Duration  float64 `json:"duration_seconds"`
	Idle      float64 `json:"idle_seconds"`
	BytesUp   int64   `json:"bytes_up"`
	BytesDown int64   `json:"bytes_down"`
}

const sessionsHelp = `Lists the sessions that run, the one that has run longest first. TEXT is part of an id (as the log and our own
replies have it), client, backend, pool, listener or site; upper and lower case are the same.

STATE is proxy_header, connecting, greeting (a relay is asked and the client has seen nothing yet), relaying, or
lingering (over and in the log, but the client has not closed). TURN is whose move is awaited: in the relay's a cut
might have a mail delivered twice.
`

func newSessionsCommand(std streams, environ []string) *cobra.Command {
	const defaultLimit, mostLimit = 100, 1000
	a := asking{environ: environ}
	var pool, backend string
	var limit int
	cmd := &cobra.Command{
		Use:     "sessions [TEXT]",
		Short:   "List the sessions that run",
		Long:    sessionsHelp + askingHelp,
		Example: "  smtplb sessions\n  smtplb sessions --backend relay-a\n  smtplb sessions 10.10.0.7",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 || limit > mostLimit {
				return usageError{fmt.Errorf("--limit %d: must be 1 to %d", limit, mostLimit)}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			for name, value := range map[string]string{"search": strings.Join(args, ""), "pool": pool, "backend": backend} {
				if value != "" {
					query.Set(name, value)
				}
			}
			body, err := c.get(cmd.Context(), "/api/v1/sessions?"+query.Encode())
			if err != nil {
				return err
			}
			if a.json {
				_, err = std.out.Write(body)
				return err
			}
			var v sessionsView
			if err := json.Unmarshal(body, &v); err != nil || v.Sessions == nil {
				return c.stranger("its sessions are another program's")
			}
			_, err = io.WriteString(std.out, v.text(styleOf(std.out, environ)))
			return err
		},
	}
	a.flags(cmd)
	cmd.Flags().StringVar(&pool, "pool", "", "only those of this pool, by its `name`")
	cmd.Flags().StringVar(&backend, "backend", "", "only those on this backend, by its `name`")
	cmd.Flags().IntVar(&limit, "limit", defaultLimit, "list this many at most, up to 1000")
	return cmd
}

// text is the list for people.
func (v *sessionsView) text(s style) string {
	t := table{columns: []column{
		{head: "ID"}, {head: "CLIENT"}, {head: "BACKEND"}, {head: "STATE"}, {head: "TURN"},
		{head: "AGE", right: true}, {head: "IDLE", right: true}, {head: "UP", right: true}, {head: "DOWN", right: true},
	}}
	for i := range v.Sessions {
		e := &v.Sessions[i]
		t.add(e.ID, e.Client, e.place(), e.State, e.Turn, lasting(e.Duration), lasting(e.Idle), sized(e.BytesUp), sized(e.BytesDown))
	}
	text := ""
	if len(v.Sessions) > 0 {
		text = t.text(s) + "\n"
	}
	switch {
	case v.Open == 0:
		text += "no session runs\n"
	case v.Matched == v.Open && len(v.Sessions) == v.Open:
		text += count(v.Open) + "\n"
	case v.Matched == v.Open:
		text += fmt.Sprintf("%d of %d sessions, those that have run longest; --limit shows more\n", len(v.Sessions), v.Open)
	case len(v.Sessions) == v.Matched:
		text += fmt.Sprintf("%d of %d sessions match\n", v.Matched, v.Open)
	default:
		text += fmt.Sprintf("%d of the %d sessions that match, of %d in all; --limit shows more\n", len(v.Sessions), v.Matched, v.Open)
	}
	return text
}

// place is where a session is.
func (e *sessionView) place() string {
	text := e.Pool
	if e.Backend != "" {
		text += "/" + e.Backend
	}
	if e.Warm {
		text += " (warm)"
	}
	return text
}
