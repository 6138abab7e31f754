package sim

import (
	"errors"
	"slices"
	"time"

	"smtplb/balancer"
)

// session is one that runs or is looking for its relay.
type session struct {
	server   int
	length   time.Duration
	accepted time.Duration
	lease    balancer.Lease
	outcome  balancer.Outcome // of the attempt under way
	tried    []int            // relays that failed it, by index
	usable   bool             // the balancer held a relay of its own site for up when it began
	chosen   int              // the tier that it was given first
}

// failures are the sessions for which no relay was found, by the reason. The client of each read a 421.
type failures struct {
	down, tried, late int64
}

// arrive gives one of the servers a session to make.
func (d *day) arrive() {
	server := d.rng.IntN(len(d.servers))
	length := sessionLength(d.rng)
	s := &d.servers[server]
	if !s.ready(d.at) {
		d.result.held++
		s.waiting = append(s.waiting, length)
		return
	}
	d.begin(server, length)
}

// serve begins the sessions that have waited for their server to be ready.
func (d *day) serve(server int) {
	for s := &d.servers[server]; len(s.waiting) > 0 && s.ready(d.at); {
		length := s.waiting[0]
		s.waiting = s.waiting[1:]
		d.begin(server, length)
	}
}

func (d *day) begin(server int, length time.Duration) {
	if len(d.free) == 0 {
		d.sessions = append(d.sessions, session{})
		d.free = append(d.free, int32(len(d.sessions)-1))
	}
	who := int(d.free[len(d.free)-1])
	d.free = d.free[:len(d.free)-1]
	d.sessions[who] = session{
		server: server, length: length, accepted: d.at,
		tried: d.sessions[who].tried[:0], usable: d.ledger.usable[0] > 0,
	}
	d.servers[server].running++
	d.ask(who)
}

// end forgets a session whose lease is empty.
func (d *day) end(who int) {
	d.servers[d.sessions[who].server].running--
	d.free = append(d.free, int32(who))
}

// ask takes the next relay for a session, each at most once, until one greets it, one makes it wait or none is left. This is
// what proxy does.
func (d *day) ask(who int) {
	s := &d.sessions[who]
	for {
		left := s.accepted + sessionSetup - d.at
		if left <= 0 {
			d.result.failed.late++
			d.lost(who)
			return
		}
		lease, err := d.pool.Acquire(d.now(), s.tried)
		if err != nil {
			d.result.failed.count(err)
			d.lost(who)
			return
		}
		s.lease = lease
		index := lease.Backend().Index()
		if len(s.tried) == 0 {
			s.chosen = d.ledger.tier[index]
		}
		d.result.attempts[d.cfg.phaseAt(d.at)]++
		d.result.most = max(d.result.most, len(s.tried)+1)
		f := d.faultOf(index)
		if f == nil {
			d.greeted(who, index)
			return
		}
		if index < d.plan.local {
			d.result.moves.asked(d.at)
		}
		s.tried = append(s.tried, index)
		s.outcome = f.outcome
		if wait := min(takes(f.outcome), left); wait > 0 {
			d.events.push(d.at+wait, attemptFails, who)
			return
		}
		d.failed(who)
	}
}

func (f *failures) count(err error) {
	if errors.Is(err, balancer.ErrTried) {
		f.tried++
	} else {
		f.down++ // no relay has a limit here, so none is ever full
	}
}

// greeted lets the session run.
func (d *day) greeted(who, index int) {
	s := &d.sessions[who]
	s.lease.Established(d.now(), 0)
	p, tier := d.cfg.phaseAt(d.at), d.ledger.tier[index]
	d.result.sessions[p]++
	d.ledger.session(p, d.at, index, s.length)
	d.result.warm.session(s.usable, s.chosen, tier)
	if tier > 0 && s.chosen > 0 {
		d.result.moves.leftHome(d.at)
	}
	d.events.push(d.at+s.length, sessionEnds, who)
}

// failed ends the attempt under way, and has the relay checked soon.
func (d *day) failed(who int) {
	s := &d.sessions[who]
	s.lease.Fail(d.now(), s.outcome)
	d.hasten(s.tried[len(s.tried)-1])
}

// lost ends a session for which there was no relay. Its server has read a 421 on its only smart host: it parks the whole
// queue, and tries again after a while.
func (d *day) lost(who int) {
	s := &d.sessions[who]
	server := &d.servers[s.server]
	server.parked = d.at + glitchRetry
	server.waiting = slices.Insert(server.waiting, 0, s.length)
	d.events.push(server.parked, serverRetries, s.server)
	d.end(who)
}
