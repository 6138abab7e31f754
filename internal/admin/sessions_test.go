package admin

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"smtplb/proxy"
)

// shown are sessions as the proxy lists them.
func shown() []proxy.Session {
	at := netip.MustParseAddrPort
	return []proxy.Session{
		{
			ID: "18a0c0ffee000001", Listener: "smarthost", Client: at("10.0.0.7:40001"), Pool: "outbound", Backend: "relay-a", Site: "HQ",
			State: "relaying", Turn: "relay", Started: start.Add(-time.Minute), Duration: time.Minute, Idle: 1500 * time.Millisecond,
			BytesUp: 10, BytesDown: 20,
		},
		{ID: "18a0c0ffee000002", Listener: "smarthost", Client: at("[2001:db8::7]:40002"), Pool: "outbound", Backend: "relay-dr", Tier: 1, Warm: true, State: "greeting", Turn: "relay"},
		{ID: "18a0c0ffee000003", Listener: "bulk-in", Client: at("10.0.0.8:40003"), State: "proxy_header", Turn: "client"},
	}
}

// listing answers like a proxy that has these sessions.
func listing(all []proxy.Session) func(context.Context, proxy.SessionQuery) (proxy.SessionList, error) {
	return func(_ context.Context, q proxy.SessionQuery) (proxy.SessionList, error) {
		list := proxy.SessionList{Open: len(all)}
		for i := range all {
			if q.Match != nil && !q.Match(&all[i]) {
				continue
			}
			list.Matched++
			if len(list.Sessions) < q.Limit {
				list.Sessions = append(list.Sessions, all[i])
			}
		}
		return list, nil
	}
}

func TestSessionsAreFoundByWhatIsKnownOfThem(t *testing.T) {
	r := newRig(t)
	r.Sessions = listing(shown())
	for _, test := range []struct {
		query string
		want  string // the last digits of the ids
	}{
		{"", "1 2 3"},
		{"search=", "1 2 3"},
		{"search=C0FFEE000002", "2"},
		{"search=10.0.0.", "1 3"},
		{"search=" + url.QueryEscape("[2001:DB8::7]"), "2"},
		{"search=40003", "3"},
		{"search=relay-", "1 2"},
		{"search=OUTB", "1 2"},
		{"search=bulk", "3"},
		{"search=hq", "1"},
		{"search=nobody", ""},
		{"pool=outbound", "1 2"},
		{"pool=out", ""},
		{"backend=relay-a", "1"},
		{"pool=outbound&backend=relay-dr&search=18a0", "2"},
		{"backend=relay-a&search=2001", ""},
	} {
		answer := r.ask(t, "GET", "/api/v1/sessions?"+test.query)
		check(t, answer, http.StatusOK)
		got := read[sessionList](t, answer)
		var ids []string
		for _, s := range got.Sessions {
			ids = append(ids, strings.TrimPrefix(s.ID, "18a0c0ffee00000"))
		}
		if strings.Join(ids, " ") != test.want || got.Open != 3 || got.Matched != len(ids) {
			t.Errorf("%s: %d open, %d matched, %v, want %s", test.query, got.Open, got.Matched, ids, test.want)
		}
	}
	first := read[sessionList](t, r.ask(t, "GET", "/api/v1/sessions?limit=1"))
	want := sessionEntry{
		ID: "18a0c0ffee000001", Listener: "smarthost", Client: netip.MustParseAddrPort("10.0.0.7:40001"), Pool: "outbound",
		Backend: "relay-a", Site: "HQ", State: "relaying", Turn: "relay", StartedAt: start.Add(-time.Minute),
		Duration: 60, Idle: 1.5, BytesUp: 10, BytesDown: 20,
	}
	if first.Matched != 3 || len(first.Sessions) != 1 || first.Sessions[0] != want {
		t.Errorf("got %+v, want one of three, %+v", first, want)
	}
}

func TestWrongParametersAreAllNamed(t *testing.T) {
	r := newRig(t)
	for query, want := range map[string][]string{
		"limit=0":                     {`limit "0": must be a whole number from 1 to 1000`},
		"limit=1001":                  {`limit "1001"`},
		"limit=":                      {`limit ""`},
		"limit=ten&Search=x&backend=": {`limit "ten"`, `no parameter "Search", perhaps search is meant: search, pool, backend, limit are known`},
		"pool=a&pool=b":               {"pool: must be there once"},
		"search=%zz&limit=-1":         {"not well-formed", `limit "-1"`},
		"nonsense":                    {`no parameter "nonsense": search,`},
	} {
		answer := r.ask(t, "GET", "/api/v1/sessions?"+query)
		check(t, answer, http.StatusBadRequest)
		got := read[problem](t, answer)
		for _, part := range want {
			if !strings.Contains(got.Detail, part) {
				t.Errorf("%s: detail %q does not say %q", query, got.Detail, part)
			}
		}
	}
}

func TestSessionsOfAServerThatTellsNothing(t *testing.T) {
	r := newRig(t)
	answer := r.ask(t, "GET", "/api/v1/sessions")
	check(t, answer, http.StatusOK)
	if body := answer.Body.String(); !strings.Contains(body, `"sessions": []`) {
		t.Errorf("got %s, want an empty list", body)
	}
	r.Sessions = func(context.Context, proxy.SessionQuery) (proxy.SessionList, error) {
		return proxy.SessionList{}, context.DeadlineExceeded
	}
	answer = r.ask(t, "GET", "/api/v1/sessions")
	check(t, answer, http.StatusServiceUnavailable)
	if got := read[problem](t, answer); !strings.Contains(got.Detail, "the event loops did not answer in time") {
		t.Errorf("detail %q", got.Detail)
	}
}

// Whatever the query, it is understood or every mistake is named; nothing breaks.
func FuzzSessionQuery(f *testing.F) {
	for _, seed := range []string{"", "limit=5&search=a", "limit=x", "pool=%2F&backend=[::1]", "a=b;c=d", "search=%zz", "limit=1&limit=2"} {
		f.Add(seed)
	}
	all := shown()
	f.Fuzz(func(t *testing.T, raw string) {
		q, bad := sessionQuery(raw)
		if bad != nil {
			if bad.Status != http.StatusBadRequest || bad.Detail == "" {
				t.Errorf("%q: %+v", raw, bad)
			}
			return
		}
		if q.Limit < 1 || q.Limit > sessionsMost {
			t.Errorf("%q: limit %d", raw, q.Limit)
		}
		for i := range all {
			if q.Match != nil {
				q.Match(&all[i])
			}
		}
	})
}
