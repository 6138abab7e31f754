package cluster

import (
	"errors"
	"testing"
	"time"
)

func disk() bool   { return true }
func noDisk() bool { return false }

// fill begins sessions at a balancer until none more may, and again after each of so many rounds.
func (w *world) fill(m *machine, rounds int, lasts time.Duration) int {
	for range rounds {
		for w.session(m, lasts) {
		}
		w.round()
	}
	for w.session(m, lasts) {
	}
	return m.process.running
}

// What two do not need the third may have, but for what each keeps to begin with.
func TestUnusedSlotsAreLent(t *testing.T) {
	w := newWorld(t, 3, 30, time.Minute, disk)
	if n := w.fill(w.nodes[0], 0, time.Hour); n != 10 {
		t.Errorf("%d sessions before anybody was heard, want its share of 10", n)
	}
	if n := w.fill(w.nodes[0], 15, time.Hour); n != 26 {
		t.Errorf("%d sessions while the others have none, want all but the 2 that each of them keeps", n)
	}
	if n := w.fill(w.nodes[1], 2, time.Hour); n != 2 {
		t.Errorf("%d sessions at one that has lent the rest, want what it has kept", n)
	}
	w.drop(func(s *session) bool { return s.of == w.nodes[0].process })
	if n := w.fill(w.nodes[1], 15, time.Hour); n < 10 {
		t.Errorf("%d sessions once the first has none, want its share of 10 at least", n)
	}
}

// Two that want all have their shares, and what the third does not need.
func TestWhoWantsMuchDoesNotTakeItFromOthers(t *testing.T) {
	w := newWorld(t, 3, 30, time.Minute, disk)
	for range 20 {
		for _, m := range w.nodes[:2] {
			for w.session(m, time.Hour) {
			}
		}
		w.round()
	}
	for _, m := range w.nodes[:2] {
		if m.process.running < 13 {
			t.Errorf("%s has %d sessions, want its share and half of what the third lends", m.name, m.process.running)
		}
	}
}

// A limit of one is the first one's, unless another has the sessions.
func TestALimitBelowTheNumberOfBalancersGoesWhereTheSessionsAre(t *testing.T) {
	w := newWorld(t, 3, 1, time.Minute, disk)
	if n := w.fill(w.nodes[2], 0, time.Second); n != 0 {
		t.Errorf("%d sessions without a share", n)
	}
	if n := w.fill(w.nodes[2], 5, time.Second); n != 1 {
		t.Errorf("%d sessions, want the one that nobody else needs", n)
	}
}

// Slots that are lent when a peer goes out of reach are not used before its lease is over and the longest session after it, and then are.
func TestLentSlotsAreWaitedFor(t *testing.T) {
	const hold = 30 * time.Second
	w := newWorld(t, 2, 20, hold, disk)
	a, b := w.nodes[0], w.nodes[1]
	if n := w.fill(a, 10, time.Hour); n < 16 {
		t.Fatalf("%d sessions", n)
	}
	w.drop(func(*session) bool { return true })
	w.cut[[2]int{0, 1}], w.cut[[2]int{1, 0}] = true, true
	// As late as it may: its sessions last as long as they may from there.
	for !w.now.Add(tickTime).After(a.process.grant.Until) {
		w.round()
	}
	if n := w.fill(a, 0, hold); n < 16 {
		t.Fatalf("%d sessions at the end of the lease, want as many as before", n)
	}
	began := w.now
	w.round()
	if w.session(a, hold) {
		t.Error("a session on a slot that was lent, after the lease")
	}
	for len(w.sessions) > 0 {
		w.fill(b, 1, hold) // held to the limit by every session
		w.drop(func(s *session) bool { return s.of == b.process })
		if w.now.Sub(began) > 2*hold {
			t.Fatal("sessions do not end")
		}
	}
	for w.now.Sub(began) < hold+near+slack+lease {
		w.round()
	}
	if n := w.fill(b, 2, time.Second); n != 10 {
		t.Errorf("%d sessions at the one that had lent, want its share of 10", n)
	}
	if n := w.fill(a, 0, time.Second); n != 10 {
		t.Errorf("%d sessions at the one that had borrowed, want its share of 10", n)
	}
}

// Who begins anew uses what it knows to be its own: all of it with a disk, a part of it without, until the peer has said what it holds.
func TestWhoBeginsAnewAsksWhatIsHeld(t *testing.T) {
	for _, tt := range []struct {
		name        string
		disk        func() bool
		alone, then int
	}{
		{"with a disk", disk, 10, 10},
		{"without", noDisk, 2, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 2, 20, time.Minute, tt.disk)
			b := w.nodes[1]
			w.fill(b, 3, time.Second)
			w.pass(time.Minute)
			w.kill(b)
			w.start(b, b.journal, nil)
			if n := w.fill(b, 0, time.Hour); n != tt.alone {
				t.Errorf("%d sessions before anybody was heard, want %d", n, tt.alone)
			}
			if n := w.fill(b, 4, time.Hour); n < tt.then {
				t.Errorf("%d sessions then, want %d", n, tt.then)
			}
		})
	}
}

// What is held by a peer is known to the process that begins, if it has noted it.
func TestWhatWasLentIsNoted(t *testing.T) {
	w := newWorld(t, 2, 20, time.Minute, disk)
	a, b := w.nodes[0], w.nodes[1]
	held := w.fill(a, 10, time.Hour)
	w.kill(b)
	w.cut[[2]int{0, 1}], w.cut[[2]int{1, 0}] = true, true
	w.start(b, b.journal, nil)
	if n := w.fill(b, 3, time.Hour); n != 20-held {
		t.Errorf("%d sessions, want %d: the peer has the others", n, 20-held)
	}
}

// Nothing is lent that cannot be noted.
func TestWhatCannotBeNotedIsNotLent(t *testing.T) {
	b := newBook(time.Unix(0, 0), "a", []string{"b"}, 1, 0, Lent{}, nil)
	full := errors.New("disk full")
	now := time.Unix(1, 0)
	c := []Ceiling{{Key: key, Limit: 10, Share: 5, Keep: 1}}
	b.plan(now, c)
	if err := b.receive(now, &message{Version: version, From: "b", Inc: 7, Number: 1, Stamp: 1, To: 1, Records: []record{{Key: key, Limit: 10, Seen: 0, Ask: 4}}}); err != nil {
		t.Fatal(err)
	}
	_ = b.receive(now, &message{Version: version, From: "b", Inc: 7, Number: 2, Stamp: 2, To: 1, Records: []record{{Key: key, Limit: 10, Seen: 1, Ask: 4}}})
	if g := b.plan(now, c); g[0].Sessions != 1 {
		t.Errorf("%d sessions while 4 are about to be lent, want 1", g[0].Sessions)
	}
	if err := b.commit(now, nil, func(Lent) error { return full }); !errors.Is(err, full) {
		t.Errorf("commit: %v", err)
	}
	if p := b.items[key].pairs[0]; p.offer != 0 || p.reserved != 0 {
		t.Errorf("%d offered, %d reserved", p.offer, p.reserved)
	}
}

// An upgrade takes nothing from the sessions of the old process, and gives their slots to the new one as they end.
func TestAnUpgradeKeepsWhatIsHeld(t *testing.T) {
	w := newWorld(t, 2, 20, time.Minute, disk)
	a := w.nodes[0]
	old := w.fill(a, 10, time.Hour)
	w.upgrade(a)
	if n := w.fill(a, 3, time.Hour); n != 0 {
		t.Errorf("%d sessions of the new process, while the old one has all", n)
	}
	elder := a.elders[0]
	w.drop(func(s *session) bool { return s.of == elder })
	if n := w.fill(a, 10, time.Hour); n != old {
		t.Errorf("%d sessions of the new process, want the %d that the old one had", n, old)
	}
}

func TestMessagesThatAreNotForThisBalancerAreRefused(t *testing.T) {
	w := newWorld(t, 2, 20, time.Minute, disk)
	b := w.nodes[0].process.book
	w.round()
	if err := b.receive(w.now, &message{From: "192.0.2.99:7946", Inc: 1, Number: 1}); !errors.Is(err, errStranger) {
		t.Errorf("a stranger: %v", err)
	}
	if err := b.receive(w.now, &message{From: w.nodes[1].name, Inc: 1, Number: 1}); !errors.Is(err, errEarlier) {
		t.Errorf("an earlier process: %v", err)
	}
}

// lender is a balancer that has offered its one peer 4 of 5 slots.
func lender(t *testing.T) (b *book, say func(to, number uint64, r record), may func() int) {
	t.Helper()
	b = newBook(time.Unix(0, 0), "a", []string{"b"}, 1, 0, Lent{}, nil)
	now := time.Unix(1, 0)
	say = func(to, number uint64, r record) {
		t.Helper()
		r.Key, r.Limit = key, 10
		if err := b.receive(now, &message{From: "b", Inc: 7, Number: number, Stamp: int64(number), To: to, Echo: 1, Records: []record{r}}); err != nil {
			t.Fatal(err)
		}
	}
	may = func() int {
		t.Helper()
		grants := b.plan(now, []Ceiling{{Key: key, Limit: 10, Share: 5, Keep: 1}})
		if err := b.commit(now, nil, func(Lent) error { return nil }); err != nil {
			t.Fatal(err)
		}
		return grants[0].Sessions
	}
	may()
	say(1, 1, record{})
	say(1, 2, record{Seen: 1, Ask: 4})
	if n := may(); n != 1 {
		t.Fatalf("%d of 5 may run here, want 1", n)
	}
	return b, say, may
}

// A report that was sent before the offer came says nothing of what is done with the offer.
func TestALateReportFreesNothing(t *testing.T) {
	_, say, may := lender(t)
	say(1, 3, record{Seen: 1, Held: 0})
	if n := may(); n != 1 {
		t.Errorf("%d may run here: the peer may use the 4 that it was offered", n)
	}
	say(1, 4, record{Seen: 2, Held: 4})
	say(1, 5, record{Seen: 2, Held: 4, Ask: 0})
	may()                               // the offer is of none now
	say(1, 6, record{Seen: 2, Held: 0}) // its lease had ended; the offer before this one may come yet, and begin another
	if n := may(); n != 1 {
		t.Errorf("%d may run here before the peer has seen that the offer is gone", n)
	}
	say(1, 7, record{Seen: 3, Held: 3})
	if n := may(); n != 2 {
		t.Errorf("%d may run here while the peer holds 3 of 5, want 2", n)
	}
	say(1, 6, record{Seen: 3, Held: 0}) // older
	if n := may(); n != 2 {
		t.Errorf("%d may run here after an older report", n)
	}
	say(1, 8, record{Seen: 3, Held: 0})
	if n := may(); n != 5 {
		t.Errorf("%d may run here, want all 5", n)
	}
}

// What was said to the process before is not meant for this one.
func TestAReportToTheProcessBeforeFreesNothing(t *testing.T) {
	old, _, _ := lender(t)
	b := newBook(time.Unix(2, 0), "a", []string{"b"}, 2, 0, old.lent(), nil)
	now := time.Unix(3, 0)
	plan := func() int {
		return b.plan(now, []Ceiling{{Key: key, Limit: 10, Share: 5, Keep: 1}})[0].Sessions
	}
	if n := plan(); n != 1 {
		t.Fatalf("%d may run, want 1", n)
	}
	m := &message{From: "b", Inc: 7, Number: 9, Stamp: 9, To: 1, Records: []record{{Key: key, Limit: 10, Held: 0}}}
	_ = b.receive(now, m)
	m.Records[0].Seen, m.Number = 1, 10
	_ = b.receive(now, m)
	if n := plan(); n != 1 {
		t.Errorf("%d may run after reports to the process before, want 1", n)
	}
	m.To, m.Number = 2, 11
	_ = b.receive(now, m)
	if n := plan(); n != 5 {
		t.Errorf("%d may run after a report to this one, want 5", n)
	}
}

// What a process has offered is nobody's when another one is heard.
func TestAnOfferEndsWithItsProcess(t *testing.T) {
	b := newBook(time.Unix(0, 0), "a", []string{"b"}, 1, 0, Lent{}, nil)
	now := time.Unix(1, 0)
	plan := func() int {
		return b.plan(now, []Ceiling{{Key: key, Limit: 10, Share: 5, Keep: 1, Here: 5, Busy: true}})[0].Sessions
	}
	plan()
	m := &message{From: "b", Inc: 7, Number: 1, Stamp: 1, To: 1, Echo: b.stamp(now), Records: []record{{Key: key, Limit: 10, Seq: 3, Offer: 4}}}
	_ = b.receive(now, m)
	if n := plan(); n != 9 {
		t.Fatalf("%d may run, want 5 and 4", n)
	}
	_ = b.receive(now, &message{From: "b", Inc: 8, Number: 1, Stamp: 1, To: 1})
	if n := plan(); n != 5 {
		t.Errorf("%d may run after the peer has begun anew, want 5", n)
	}
	now = now.Add(lease)
	if err := b.receive(now, m); !errors.Is(err, errEarlier) {
		t.Errorf("a message of the process before: %v", err)
	}
}
