package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"smtplb/balancer"
)

func TestStatusTellsEverything(t *testing.T) {
	r := newRig(t)
	r.Stats = counts
	r.Ready = func() (bool, string) { return false, "draining" }
	r.Listeners = func() []Listener {
		return []Listener{{Name: "smarthost", Address: netip.MustParseAddrPort("127.0.0.1:2525"), Pool: "outbound", Protocol: "smtp"}}
	}
	first := r.established(t, 20*time.Millisecond)
	r.later(time.Minute)
	answer := r.ask(t, "GET", "/api/v1/status")
	check(t, answer, http.StatusOK)
	got := read[status](t, answer)

	if got.Version != "v1.2.3" || !got.StartedAt.Equal(start.Add(-time.Hour)) || got.Uptime != 3660 || got.Ready || got.NotReady != "draining" {
		t.Errorf("the program: %+v", got)
	}
	if want := (listenerStatus{"smarthost", netip.MustParseAddrPort("127.0.0.1:2525"), "outbound", "smtp"}); len(got.Listeners) != 1 || got.Listeners[0] != want {
		t.Errorf("listeners %+v, want %+v", got.Listeners, want)
	}
	s := got.Sessions
	if s.Accepted != 12 || s.Open != 3 || s.Hedging != 1 || s.Hedged != 2 || s.Descriptors != 7 || s.BytesUp != 1000 || s.BytesDown != 200 {
		t.Errorf("sessions %+v", s)
	}
	if len(s.Ends) != 10 || s.Ends["client_closed"] != 8 || s.Ends["no_backend"] != 1 || s.Ends["idle"] != 0 {
		t.Errorf("ends %v", s.Ends)
	}
	if len(got.Pools) != 2 || got.Pools[0].Name != "outbound" || got.Pools[1].Name != "bulk" {
		t.Fatalf("pools %+v", got.Pools)
	}
	p := got.Pools[0]
	if !p.Since.Equal(start.Add(-time.Hour)) || p.WarmShare != 0.05 || p.Failover || len(p.Tiers) != 2 {
		t.Errorf("pool %+v", p)
	}
	hq, dr := p.Tiers[0], p.Tiers[1]
	if !hq.Active || hq.Warmed || !hq.Usable || hq.Healthy != 2 || hq.MinHealthy != 1 || hq.Idle != 60 || !hq.LastSession.Equal(start) || len(hq.Backends) != 2 {
		t.Errorf("the first tier: %+v", hq)
	}
	if dr.Tier != 1 || dr.Active || !dr.Warmed || dr.Idle != 3660 || !dr.LastSession.IsZero() || !dr.UsableSince.Equal(start.Add(-time.Hour)) {
		t.Errorf("the standby: %+v", dr)
	}
	a := hq.Backends[0]
	if a.Name != "relay-a" || a.Address != "10.0.0.1:25" || a.Site != "hq" || a.Weight != 2 || a.MaxSessions != 50 || a.State != "up" || a.Part != 1 {
		t.Errorf("the backend: %+v", a)
	}
	if first != "relay-a" || a.Picks != 1 || a.Established != 1 {
		t.Errorf("the session on %s is not counted: %+v", first, a)
	}
	if b := dr.Backends[0]; b.Name != "relay-dr" || b.Address != "" || b.Tier != 1 {
		t.Errorf("the backend without a known address: %+v", b)
	}
	if bulk := got.Pools[1]; bulk.Tiers[0].Idle != 120 { // made a minute before
		t.Errorf("a pool is idle since it was made: %+v", bulk.Tiers[0])
	}
}

func TestAFailoverShows(t *testing.T) {
	r := newRig(t)
	for i := range 2 {
		r.outbound.Drain(r.now(), i)
	}
	p := read[status](t, r.ask(t, "GET", "/api/v1/status")).Pools[0]
	if !p.Failover || p.Tiers[0].Active || p.Tiers[0].Usable || !p.Tiers[0].UsableSince.IsZero() || !p.Tiers[1].Active {
		t.Errorf("%+v", p)
	}
	if b := p.Tiers[0].Backends[0]; b.State != "draining" || b.Reason != "drained" || !b.Since.Equal(start) {
		t.Errorf("%+v", b)
	}
}

// Whatever field the balancer adds must not be forgotten here: each one that
// changes must change what people read.
func TestEveryFieldOfTheBalancerIsShown(t *testing.T) {
	now := start.Add(time.Hour)
	each(t, func(b balancer.BackendStatus) any {
		return []any{b.ID, newBackendStatus(start, "", &b)} // people name a backend by its name
	})
	each(t, func(s balancer.TierStatus) any { return newTierStatus(now, start, &s) })
}

func each[T any](t *testing.T, show func(T) any) {
	t.Helper()
	text := func(v T) string {
		b, err := json.Marshal(show(v))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var zero T
	for i := range reflect.TypeFor[T]().NumField() {
		v := zero
		field := reflect.ValueOf(&v).Elem().Field(i)
		switch field.Interface().(type) {
		case time.Time:
			field.Set(reflect.ValueOf(start.Add(time.Minute)))
		case time.Duration:
			field.SetInt(int64(time.Second))
		default:
			switch field.Kind() {
			case reflect.String:
				field.SetString("x")
			case reflect.Bool:
				field.SetBool(true)
			case reflect.Int:
				field.SetInt(5)
			case reflect.Uint8, reflect.Uint64:
				field.SetUint(2)
			case reflect.Float64:
				field.SetFloat(0.5)
			default:
				t.Fatalf("%T.%s: this test does not know %s", v, reflect.TypeFor[T]().Field(i).Name, field.Kind())
			}
		}
		if text(v) == text(zero) {
			t.Errorf("%s shows nowhere", fmt.Sprintf("%T.%s", v, reflect.TypeFor[T]().Field(i).Name))
		}
	}
}
