package chaos

import (
	"slices"
	"testing"
	"time"
)

// scene is one client's session in a run of a few seconds, and what came of it.
type scene struct {
	name    string
	fault   fault // on from the 10th second to the 12th
	at      time.Duration
	outcome outcome
	unsure  bool     // the message's reply did not come
	again   bool     // it was sent once more, on dr-a, and accepted
	copies  []string // the relays that have it
	sum     string   // of the copies; "": as it was sent

	lost, duplicated, corrupted, unsent, strange bool // what must be found
	forgiven                                     int
}

// The judge is worth what this shows: the session is on hq-a, number 0.
func TestJudge(t *testing.T) {
	const s = time.Second
	kill := fault{kind: killed, relay: 0}
	for _, one := range []scene{
		{name: "all is well", at: s, copies: []string{"hq-a"}},
		{name: "accepted, and nowhere", at: s, lost: true},
		{name: "accepted, and at another relay", at: s, copies: []string{"hq-b"}, duplicated: true},
		{name: "twice at one relay", at: s, copies: []string{"hq-a", "hq-a"}, duplicated: true},
		{name: "twice at two", at: s, copies: []string{"hq-a", "dr-a"}, duplicated: true},
		{name: "damaged", at: s, copies: []string{"hq-a"}, sum: "other", corrupted: true},
		{name: "cut for no reason", at: s, outcome: cutOff, again: true, copies: []string{"dr-a"}, strange: true},
		{name: "cut by the death of its relay", fault: kill, at: 10 * s, outcome: cutOff, again: true, copies: []string{"dr-a"}},
		{name: "cut by the death of another relay", fault: fault{kind: killed, relay: 1}, at: 10 * s, outcome: cutOff, again: true, copies: []string{"dr-a"}, strange: true},
		{name: "cut long before its relay's death", fault: kill, at: 2 * s, outcome: cutOff, again: true, copies: []string{"dr-a"}, strange: true},
		{name: "cut by a link that is", fault: fault{kind: linkCut, relay: 0}, at: 10 * s, outcome: cutOff, again: true, copies: []string{"dr-a"}, strange: true},
		{name: "cut by a relay that greets 421", fault: fault{kind: greets421, relay: 0}, at: 10 * s, outcome: cutOff, again: true, copies: []string{"dr-a"}, strange: true},
		{name: "greeted 421 while a relay is down", fault: kill, at: 10 * s, outcome: gotten421, again: true, copies: []string{"dr-a"}, strange: true},
		{name: "greeted 421 while a site is down", fault: fault{kind: siteDown, relay: -1}, at: 10 * s, outcome: gotten421, again: true, copies: []string{"dr-a"}, strange: true},
		{name: "greeted 421 while all are down", fault: fault{kind: allDown, relay: -1}, at: 10 * s, outcome: gotten421, again: true, copies: []string{"dr-a"}},
		{name: "refused at an upgrade", fault: fault{kind: upgraded, relay: -1}, at: 10 * s, outcome: refused, again: true, copies: []string{"dr-a"}, strange: true},
		{name: "timed out while packets are lost", fault: fault{kind: linkLoss, relay: 0}, at: 10 * s, outcome: timedOut, again: true, copies: []string{"dr-a"}},
		{name: "a second copy of the death of its relay", fault: kill, at: 10 * s, outcome: cutOff, unsure: true, again: true, copies: []string{"hq-a", "dr-a"}, forgiven: 1},
		{name: "a second copy where the first was no secret", fault: kill, at: 10 * s, outcome: cutOff, again: true, copies: []string{"hq-a", "dr-a"}, duplicated: true},
		{name: "a second copy elsewhere", fault: kill, at: 10 * s, outcome: cutOff, unsure: true, again: true, copies: []string{"hq-b", "dr-a"}, duplicated: true},
		{name: "a third copy", fault: kill, at: 10 * s, outcome: cutOff, unsure: true, again: true, copies: []string{"hq-a", "hq-a", "dr-a"}, duplicated: true},
		{name: "a second copy for no reason", at: s, outcome: cutOff, unsure: true, again: true, copies: []string{"hq-a", "dr-a"}, duplicated: true, strange: true},
		{name: "never accepted", fault: kill, at: 10 * s, outcome: cutOff, unsent: true},
		{name: "never accepted, and there", fault: kill, at: 10 * s, outcome: cutOff, unsure: true, copies: []string{"hq-a"}, unsent: true, forgiven: 1},
	} {
		t.Run(one.name, func(t *testing.T) { one.play(t) })
	}
}

func (one scene) play(t *testing.T) {
	began := time.Now()
	at := began.Add
	m := &message{sum: "sum"}
	c := &crowdOfSenders{messages: map[string]*message{"m": m}}
	j := &judge{sessions: map[string][]logLine{}}
	if one.fault.kind != "" {
		j.windows = []window{{one.fault, at(10 * time.Second), at(12 * time.Second)}}
	}
	met := func(local, backend string, from time.Duration, o outcome) *visit {
		v := &visit{local: local, began: at(from), end: at(from + 100*time.Millisecond), greeting: time.Millisecond, outcome: o}
		c.visits = append(c.visits, v)
		j.sessions[local] = []logLine{{Time: v.end, Duration: 100, Backend: backend, Client: local}}
		return v
	}
	first := met("client:1", "hq-a", one.at, one.outcome)
	m.tries = append(m.tries, try{first, first.end, one.outcome == good, one.unsure})
	if one.again {
		second := met("client:2", "dr-a", one.at+time.Second, good)
		m.tries = append(m.tries, try{second, second.end, true, false})
	}
	taken := map[string][]receipt{}
	for _, relay := range one.copies {
		taken[relay] = append(taken[relay], receipt{ID: "m", Sum: choose(one.sum == "", "sum", one.sum)})
	}
	d := j.verdict(c, taken)
	got := []bool{len(d.lost) > 0, len(d.duplicated) > 0, len(d.corrupted) > 0, len(d.unsent) > 0, len(d.strange) > 0}
	if want := []bool{one.lost, one.duplicated, one.corrupted, one.unsent, one.strange}; !slices.Equal(got, want) || d.forgiven != one.forgiven {
		t.Errorf("lost, duplicated, corrupted, unsent, strange: %v, want %v; %d copies forgiven, want %d: %v",
			got, want, d.forgiven, one.forgiven, d.problems())
	}
	if (len(d.problems()) > 0) != slices.Contains(got, true) {
		t.Errorf("problems %v", d.problems())
	}
}

// A message that nobody sent is one too much.
func TestJudgeKnowsWhatWasSent(t *testing.T) {
	d := (&judge{}).verdict(&crowdOfSenders{}, map[string][]receipt{"hq-a": {{ID: "never"}}})
	if !slices.Equal(d.unknown, []string{"never at hq-a"}) || len(d.problems()) != 1 {
		t.Errorf("%+v", d)
	}
}

// One address is several clients in the course of hours, and one of them may have
// waited before it was accepted.
func TestJudgeKnowsWhoseSessionItWas(t *testing.T) {
	began := time.Now()
	at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
	j := &judge{sessions: map[string][]logLine{"a": {
		{Backend: "before", Time: at(10.05), Duration: 4000},
		{Backend: "waited", Time: at(18.1), Duration: 1000},
		{Backend: "after", Time: at(19), Duration: 500},
	}}}
	for _, test := range []struct {
		began, end float64
		want       string
	}{
		{6, 10, "before"}, {10, 18, "waited"}, {18.45, 18.9, "after"}, {17.05, 17.06, "waited"},
		{10.051, 10.052, "before"}, {30, 31, ""}, {1, 2, ""},
	} {
		if l, ok := j.line(&visit{local: "a", began: at(test.began), end: at(test.end)}); l.Backend != test.want || ok != (test.want != "") {
			t.Errorf("from %v to %v: %q, want %q", test.began, test.end, l.Backend, test.want)
		}
	}
}
