package cluster

import (
	"strings"
	"testing"
	"time"
)

func TestMessagesThatCannotBeMeantAreRefused(t *testing.T) {
	const head = `{"v":1,"from":"a","inc":1,"n":1,"t":1,`
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", ``, "a message that is none"},
		{"two", head + `"d":1}{}`, "a message that is none"},
		{"another version", `{"v":2}`, "version 2: this program knows 1"},
		{"nobody", `{"v":1,"inc":1,"n":1,"t":1}`, "without its sender"},
		{"no clock", `{"v":1,"from":"a","inc":1,"n":1}`, "or clock"},
		{"fewer than none", head + `"r":[{"k":"x","o":-1}]}`, `"x" with -1 sessions`},
		{"too many", head + `"r":[{"k":"x","h":10000001}]}`, "want 0 to 10000000"},
		{"more than a number", head + `"r":[{"k":"x","h":1e30}]}`, "a message that is none"},
		{"a long name", head + `"r":[{"k":"` + strings.Repeat("x", 701) + `"}]}`, "want 700 bytes at most"},
		{"the future", head + `"w":[{"p":"out","l":-1}]}`, "times in the future"},
		{"a book", strings.Repeat("x", messageMost+1), "want 65536 at most"},
	} {
		if _, err := decode([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// Whatever comes from the network is refused or does no harm: nobody is given more than the limit by it.
func FuzzReceive(f *testing.F) {
	w := newWorld(f, 2, 20, time.Minute, disk)
	for range 4 {
		w.session(w.nodes[0], time.Hour)
		for _, m := range w.nodes {
			m.tick()
		}
		for _, p := range w.network {
			f.Add(p.text)
		}
		for len(w.network) > 0 {
			w.deliver(0, false)
		}
	}
	f.Add([]byte(`{"v":1,"from":"192.0.2.2:7946","inc":9,"n":9,"t":9,"to":3,"e":1,"d":1,"r":[{"k":"outbound/relay-a","l":1,"s":9,"o":9999999,"a":1,"h":9999999,"q":9,"f":9}],"w":[{"p":"out","i":-1,"n":1,"l":1,"r":1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := decode(text)
		if err != nil {
			return
		}
		now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		b := newBook(now, "192.0.2.1:7946", []string{"192.0.2.2:7946"}, 3, time.Minute, Lent{}, nil)
		c := []Ceiling{{Key: key, Limit: 20, Share: 10, Keep: 2, Busy: true}}
		b.plan(now, c)
		x := exchange{map[tierKey]map[string]*tierHeard{}}
		for i := range 3 {
			now = now.Add(tickTime)
			if b.receive(now, m) == nil {
				x.receive(now, m)
			}
			m.Number++
			for _, g := range b.plan(now, c) {
				if g.Sessions < 0 || g.Then < 0 || g.Then > 10 {
					t.Fatalf("round %d: %+v", i, g)
				}
			}
			_ = b.commit(now, map[string]int{key: i}, func(Lent) error { return nil })
			for _, out := range b.messages(now, b.peers[0], nil) {
				text, err := out.encode()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := decode(text); err != nil {
					t.Fatalf("its own message: %v", err)
				}
			}
			for _, n := range x.news(func(string) bool { return true }) {
				if n.Sessions < 0 {
					t.Fatalf("%+v", n)
				}
			}
		}
	})
}

func TestMessagesFitIntoPackets(t *testing.T) {
	now := time.Unix(1000, 0)
	b := newBook(now, "192.0.2.1:7946", []string{"192.0.2.2:7946"}, 1, time.Minute, Lent{}, nil)
	var c []Ceiling
	for i := range 1000 {
		c = append(c, Ceiling{Key: "outbound/relay-" + strings.Repeat("x", i%60) + string(rune('a'+i%26)) + time.Duration(i).String(), Limit: 100, Share: 50, Keep: 12})
	}
	b.plan(now, c)
	told := map[string]bool{}
	for _, m := range b.messages(now, b.peers[0], nil) {
		text, err := m.encode()
		if err != nil || len(text) > 1350 {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
		for _, r := range m.Records {
			told[r.Key] = true
		}
	}
	if len(told) != len(c) {
		t.Errorf("%d of %d ceilings are told of", len(told), len(c))
	}
}

func TestTiersAreToldOfOnce(t *testing.T) {
	now := time.Unix(1000, 0)
	x := exchange{map[tierKey]map[string]*tierHeard{}}
	say := func(inc, number, sessions uint64, ramp time.Duration) {
		x.receive(now, &message{From: "b", Inc: inc, Number: number, Tiers: []tier{{Pool: "out", Tier: 1, Sessions: sessions, Last: time.Second, Ramp: ramp}}})
	}
	fresh := func(near bool) TierNews {
		t.Helper()
		all := x.news(func(string) bool { return near })
		if len(all) != 1 {
			t.Fatalf("%+v", all)
		}
		return all[0]
	}
	say(1, 1, 100, time.Minute)
	if n := fresh(true); n.Sessions != 0 || !n.Last.Equal(now.Add(-time.Second)) || !n.Ramp.Equal(now.Add(-time.Minute)) {
		t.Errorf("at first %+v", n)
	}
	say(1, 3, 105, 0)
	say(1, 2, 103, 0) // late
	say(1, 4, 107, 0)
	if n := fresh(true); n.Sessions != 7 || !n.Ramp.IsZero() {
		t.Errorf("then %+v", n)
	}
	say(2, 5, 2, time.Minute) // another process
	say(1, 6, 200, 0)         // not dead yet
	say(2, 7, 4, time.Minute)
	if n := fresh(false); n.Sessions != 2 || !n.Ramp.IsZero() {
		t.Errorf("after a restart, out of reach: %+v", n)
	}
}
