package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"smtplb/balancer"
)

// happened is what /api/v1/events answers.
func (r *rig) happened(t *testing.T, query string) []event {
	t.Helper()
	answer := r.ask(t, "GET", "/api/v1/events"+query)
	check(t, answer, http.StatusOK)
	return read[eventList](t, answer).Events
}

func TestEventsTellWhatHappened(t *testing.T) {
	r := newRig(t)
	if body := r.ask(t, "GET", "/api/v1/events").Body.String(); !strings.Contains(body, `"events": []`) {
		t.Errorf("got %s, want an empty list", body)
	}
	r.outbound = newPool(t, balancer.Config{
		Name: "outbound", OnChange: r.BackendChanged, OnTierChange: r.TierChanged, Fall: 1, Rise: 1,
		Backends: []balancer.BackendConfig{{Name: "relay-a", Weight: 1}, {Name: "relay-b", Weight: 1, Priority: 1}},
	})
	check(t, r.ask(t, "POST", "/api/v1/backends/outbound/relay-a/drain"), http.StatusOK)
	check(t, r.ask(t, "POST", "/api/v1/backends/outbound/relay-a/drain"), http.StatusOK) // is so already: nothing happens
	check(t, r.ask(t, "POST", "/api/v1/backends/outbound/relay-a/disable"), http.StatusOK)
	r.outbound.Probe(start, 0, balancer.VerdictFailed, "connect: refused")
	check(t, r.ask(t, "POST", "/api/v1/backends/outbound/relay-a/enable"), http.StatusOK)
	r.outbound.Probe(start, 0, balancer.VerdictGood, "")
	r.ReloadEnded("SIGHUP", Reloaded{}, nil)
	r.ReloadEnded("the API", Reloaded{Changes: []string{"a: 1 -> 2", "b: added"}, NeedsRestart: []string{"workers: 0 -> 1"}}, nil)
	r.ReloadEnded("SIGHUP", Reloaded{}, errors.Join(errors.New("f:1: x"), errors.New("f:2: y")))

	var got []string
	all := r.happened(t, "")
	for i, v := range all {
		if v.Seq != uint64(i+1) || !v.Time.Equal(start) || v.Text == "" {
			t.Errorf("event %d is %+v", i+1, v)
		}
		got = append(got, fmt.Sprintf("%s %s/%s %s>%s %s | %s", v.Kind, v.Pool, v.Backend, v.From, v.To, v.Reason, v.Text))
	}
	want := []string{
		"verb outbound/relay-a up>draining drained | relay-a of outbound: up -> draining: drained by an administrator",
		"tier outbound/ 0>1 ",
		"verb outbound/relay-a draining>disabled disabled | ",
		"verb outbound/relay-a disabled>down enabled | ",
		"backend outbound/relay-a down>up ",
		"tier outbound/ 1>0 ",
		"reload / >ok  | reloaded by SIGHUP: nothing is different",
		"reload / >ok  | reloaded by the API: a: 1 -> 2; b: added; needs a restart: workers: 0 -> 1",
		"reload / >refused f:1: x | reload by SIGHUP refused, nothing changed: f:1: x; f:2: y",
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("events\n%s\nwant they begin\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if later := r.happened(t, "?after=7"); len(later) != 2 || later[0] != all[7] {
		t.Errorf("after 7 there are %+v", later)
	}
	for _, query := range []string{"?after=-1", "?after=x", "?before=3", "?after=1&after=2"} {
		check(t, r.ask(t, "GET", "/api/v1/events"+query), http.StatusBadRequest)
	}
}

// The ring is a list of which only the newest are kept.
func TestEventsAreTheNewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e events
		var all []event
		for i := range rapid.IntRange(0, 3*eventsKept).Draw(t, "events") {
			v := event{Text: fmt.Sprint(i)}
			e.add(v)
			v.Seq = uint64(i + 1)
			all = append(all, v)
		}
		after := rapid.Uint64Range(0, 4*eventsKept).Draw(t, "after")
		want := all
		if after <= uint64(len(all)) {
			want = all[after:]
		}
		want = want[max(0, len(want)-eventsKept):]
		got := e.after(after)
		if len(got) != len(want) {
			t.Fatalf("%d events after %d of %d, want %d", len(got), after, len(all), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("number %d after %d is %+v, want %+v", i, after, got[i], want[i])
			}
		}
	})
}

func TestEventsComeFromSeveralAtATime(t *testing.T) {
	var e events
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range eventsKept {
				e.add(event{})
				for i, v := range e.after(0) {
					if i > 0 && v.Seq == 0 {
						t.Error("an event without its number")
					}
				}
			}
		})
	}
	all.Wait()
	list := e.after(0)
	if len(list) != eventsKept || list[0].Seq != 3*eventsKept+1 {
		t.Errorf("%d events from %d on", len(list), list[0].Seq)
	}
}

func TestManyChangesMakeAShortEvent(t *testing.T) {
	r := newRig(t)
	r.ReloadEnded("SIGHUP", Reloaded{Changes: strings.Split(strings.Repeat("x: added ", 50), " ")}, nil)
	if text := r.happened(t, "")[0].Text; len(text) > 200 || !strings.HasSuffix(text, "; and 96 more") {
		t.Errorf("text %q", text)
	}
}
