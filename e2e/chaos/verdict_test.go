package chaos

import (
	"fmt"
	"slices"
	"time"
)

// verdict is what is left when everything is over.
type verdict struct {
	accepted   int            // messages
	copies     int            // at the relays
	forgiven   int            // copies that are RFC 1047's: see surplus
	lost       []string       // accepted, and at no relay
	duplicated []string       // at relays more than once, and nothing explains it
	corrupted  []string       // at a relay, and not as they were sent
	unsent     []string       // not accepted when everything was well again
	unknown    []string       // at a relay, and nobody sent them
	strange    []string       // what clients met, and nothing explains it
	blamed     map[*visit]int // the window that explains what a client met, by number
}

// slack is how far apart, in time, cause and effect may be written down.
const slack = time.Second

// judge holds what clients met and relays took against each other.
type judge struct {
	windows  []window
	sessions map[string][]logLine // the balancer's, by the client's address
}

// line is the balancer's line of a visit: of those with its address, which may have
// been used before, the one that shares most time with it. A client may have waited
// in the kernel's queue before, and the log is a little late.
func (j *judge) line(v *visit) (best logLine, ok bool) {
	most := -slack
	for _, l := range j.sessions[v.local] {
		from, to := l.began(), l.Time
		if from.Before(v.began) {
			from = v.began
		}
		if to.After(v.end) {
			to = v.end
		}
		if shared := to.Sub(from); shared > most {
			best, most, ok = l, shared, true
		}
	}
	return best, ok
}

// explain returns the number of the window because of which a visit may have ended
// as it did.
func (j *judge) explain(v *visit) (int, bool) {
	line, _ := j.line(v)
	for n, w := range j.windows {
		if v.began.Before(w.over.Add(slack)) && v.end.After(w.began.Add(-slack)) && mayCause(w, v, line) {
			return n, true
		}
	}
	return 0, false
}

// mayCause is what each kind of fault may do to a client whose session it meets.
// Everything else is what the balancer is there for: no fault of a relay before its
// greeting is among them.
func mayCause(w window, v *visit, line logLine) bool {
	mine := false // the session was on a relay that the fault is at
	for _, n := range w.several() {
		mine = mine || relays()[n].name == line.Backend
	}
	switch v.outcome {
	case cutItself:
		return w.kind == clientCuts
	case noConnect:
		return w.kind == clientCut || w.kind == clientLoss || w.kind == crowd
	case gotten421:
		// The limit of descriptors is lowered behind the program's back: whoever is let in
		// before it notices cannot be given a relay. See docs/reliability.md.
		return w.kind == allDown || w.kind == descriptors
	case gotten4xx:
		return mine && w.kind == refuses
	case cutOff:
		if v.greeting == 0 {
			return false
		}
		return mine && slices.Contains([]kind{killed, siteDown, allDown, resetsAtDot}, w.kind)
	case timedOut:
		if v.greeting == 0 {
			return w.kind == clientCut || w.kind == clientLoss || w.kind == crowd || w.kind == descriptors
		}
		return mine && slices.Contains([]kind{hung, linkCut, linkLoss}, w.kind) || w.kind == clientCut || w.kind == clientLoss
	}
	return false
}

// verdict compares what was sent with what the relays have, by relay.
func (j *judge) verdict(c *crowdOfSenders, taken map[string][]receipt) verdict {
	d := verdict{blamed: map[*visit]int{}}
	for _, v := range c.visits {
		if v.outcome == good {
			continue
		}
		n, ok := j.explain(v)
		if ok {
			d.blamed[v] = n
			continue
		}
		line, _ := j.line(v)
		d.strange = append(d.strange, fmt.Sprintf("%s from %v: %v after %v, greeted after %v: %s; on relay %q, which smtplb says ended as %s %s",
			v.local, v.began.Format("15:04:05.000"), v.outcome, v.end.Sub(v.began).Round(time.Millisecond),
			v.greeting.Round(time.Millisecond), v.text, line.Backend, line.End, line.Reason))
	}
	where := map[string][]string{} // the relays that have a message
	for relay, all := range taken {
		for _, r := range all {
			d.copies++
			m := c.messages[r.ID]
			switch {
			case m == nil:
				d.unknown = append(d.unknown, r.ID+" at "+relay)
			case m.sum != r.Sum:
				d.corrupted = append(d.corrupted, r.ID+" at "+relay)
			}
			where[r.ID] = append(where[r.ID], relay)
		}
	}
	for id, m := range c.messages {
		accepted := slices.ContainsFunc(m.tries, func(t try) bool { return t.accepted })
		switch {
		case accepted:
			d.accepted++
			if len(where[id]) == 0 {
				d.lost = append(d.lost, id)
				continue
			}
		default:
			d.unsent = append(d.unsent, id)
		}
		surplus, ok := j.surplus(d, m, where[id])
		if !ok {
			d.duplicated = append(d.duplicated, fmt.Sprintf("%s at %v", id, where[id]))
			continue
		}
		d.forgiven += surplus
	}
	return d
}

// surplus are the copies of a message beyond the one that its client was told of. Each
// must be of a try that broke between the message's end and its reply, on the relay that
// has the copy, because of a fault that explains it (RFC 1047).
func (j *judge) surplus(d verdict, m *message, at []string) (n int, ok bool) {
	at = slices.Clone(at)
	strike := func(t try) bool {
		line, _ := j.line(t.visit)
		i := slices.Index(at, line.Backend)
		if i >= 0 {
			at = slices.Delete(at, i, i+1)
		}
		return i >= 0
	}
	for _, t := range m.tries {
		if t.accepted && !strike(t) {
			return 0, false // it is at another relay than the session was
		}
	}
	for _, t := range m.tries {
		if _, explained := d.blamed[t.visit]; t.unsure && explained && strike(t) {
			n++
		}
	}
	return n, len(at) == 0
}

// problems lists what was wrong, at most so many of a kind.
func (d verdict) problems() (all []string) {
	const most = 20
	for _, one := range []struct {
		what string
		list []string
	}{
		{"lost", d.lost},
		{"duplicated, or not where its client was told", d.duplicated},
		{"corrupted", d.corrupted},
		{"not accepted after all faults were over", d.unsent},
		{"at a relay, and nobody sent it", d.unknown},
		{"a session ended as no fault explains", d.strange},
	} {
		slices.Sort(one.list)
		for n, text := range one.list {
			if n == most {
				all = append(all, fmt.Sprintf("%s: and %d more", one.what, len(one.list)-most))
				break
			}
			all = append(all, one.what+": "+text)
		}
	}
	return all
}
