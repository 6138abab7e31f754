package admin

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAPersonTakesARelayOutAndBringsItBack(t *testing.T) {
	r := newRig(t)
	for _, step := range []struct {
		path    string
		state   string
		changed bool
	}{
		{"outbound/relay-b/drain", "draining", true},
		{"outbound/relay-b/drain", "draining", false},
		{"outbound/relay-b/disable", "disabled", true},
		{"outbound/relay-b/enable", "up", true},
		{"outbound/relay-b/enable", "up", false},
		{"bulk/farm%2F10.0.0.1/drain", "draining", true},
		{"bulk/%5B::1%5D:25/disable", "disabled", true},
		{"bulk/[::1]:25/enable", "up", true},
	} {
		answer := r.ask(t, "POST", "/api/v1/backends/"+step.path)
		if answer.Code != http.StatusOK || answer.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", step.path, answer.Code, answer.Body)
			continue
		}
		got := read[done](t, answer)
		pool, _, _ := strings.Cut(step.path, "/")
		if got.Pool != pool || got.Backend.State != step.state || got.Changed != step.changed {
			t.Errorf("%s: %+v, want %s, changed: %v", step.path, got, step.state, step.changed)
		}
	}
	// What was said is what is so.
	var states []string
	for _, b := range append(r.outbound.Snapshot(start), r.bulk.Snapshot(start)...) {
		states = append(states, b.State.String())
	}
	if want := []string{"up", "up", "up", "draining", "up"}; !slices.Equal(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
}

func TestWrongNamesAreToldWhatIsNear(t *testing.T) {
	for _, test := range []struct {
		method, path string
		status       int
		detail       []string
		near         []string
	}{
		{"POST", "/api/v1/backends/outbond/relay-a/drain", 404, []string{`no pool "outbond"`}, []string{"outbound"}},
		{"POST", "/api/v1/backends/x/relay-a/drain", 404, []string{`no pool "x"`}, nil},
		{"POST", "/api/v1/backends/outbound/relay/drain", 404, []string{"pool outbound has no backend", `"relay"`},
			[]string{"relay-a", "relay-b", "relay-dr"}},
		{"POST", "/api/v1/backends/outbound/RELAY-B/drain", 404, nil, []string{"relay-b", "relay-a", "relay-dr"}},
		{"POST", "/api/v1/backends/bulk/relay-a/drain", 404, []string{"; pool outbound has"}, nil},
		{"POST", "/api/v1/backends/outbound/" + strings.Repeat("r", 5000) + "/drain", 404, []string{`r"...`}, nil},
		{"POST", "/api/v1/backends/outbound/a%0Ab/drain", 404, []string{`"a\nb"`}, nil},
		{"POST", "/api/v1/backends/outbound/relay-a/drained", 400, []string{`"drained"`, "drain, enable and disable"}, []string{"drain"}},
		{"POST", "/api/v1/backends/outbound/relay-a/explode", 400, []string{`"explode"`}, nil},
		{"GET", "/api/v1/backends/outbound/relay-a/drain", 405, []string{"takes POST"}, nil},
		{"DELETE", "/api/v1/status", 405, []string{"takes GET, HEAD"}, nil},
		{"OPTIONS", "/metrics", 405, []string{"takes GET, HEAD"}, nil},
		{"POST", "/api/v1/backends/outbound/relay-a", 404, []string{"nothing at this path"}, nil},
		{"GET", "/api/v2/status", 404, []string{"openapi.yaml"}, nil},
		{"GET", "/../../etc/passwd", 404, nil, nil},
	} {
		t.Run(test.method+" "+test.path[:min(len(test.path), 60)], func(t *testing.T) {
			answer := newRig(t).ask(t, test.method, test.path)
			if test.path == "/../../etc/passwd" && answer.Code/100 == 3 {
				return // to the clean path, which is not there either
			}
			check(t, answer, test.status)
			if (answer.Code == http.StatusMethodNotAllowed) != (answer.Header().Get("Allow") != "") {
				t.Errorf("%d with Allow %q", answer.Code, answer.Header().Get("Allow"))
			}
			got := read[problem](t, answer)
			for _, part := range test.detail {
				if !strings.Contains(got.Detail, part) {
					t.Errorf("detail %q does not say %q", got.Detail, part)
				}
			}
			if !slices.Equal(got.Near, test.near) {
				t.Errorf("near %q, want %q", got.Near, test.near)
			}
		})
	}
}

// A reload may take a pool away between two requests, and bring another.
func TestOrdersReachThePoolsOfTheMoment(t *testing.T) {
	r := newRig(t)
	pools := r.Pools()
	r.Pools = func() []Pool { return pools }
	pools = pools[1:]
	check(t, r.ask(t, "POST", "/api/v1/backends/outbound/relay-a/drain"), http.StatusNotFound)
	pools = newRig(t).Pools()
	check(t, r.ask(t, "POST", "/api/v1/backends/outbound/relay-a/drain"), http.StatusOK)
	if got := r.outbound.Snapshot(start)[0].State.String(); got != "up" {
		t.Errorf("the pool that is gone was changed: %s", got)
	}
}

func TestDistanceIsADistance(t *testing.T) {
	words := rapid.StringMatching(`[ab]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := words.Draw(t, "a"), words.Draw(t, "b"), words.Draw(t, "c")
		switch ab := distance(a, b); {
		case (ab == 0) != (a == b):
			t.Errorf("%q to %q: %d", a, b, ab)
		case ab != distance(b, a):
			t.Errorf("%q and %q: %d and %d", a, b, ab, distance(b, a))
		case ab > distance(a, c)+distance(c, b):
			t.Errorf("%q to %q is shorter by way of %q", a, b, c)
		case ab > max(len(a), len(b)) || ab < max(len(a), len(b))-min(len(a), len(b)):
			t.Errorf("%q to %q: %d", a, b, ab)
		}
	})
}
