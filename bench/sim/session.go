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
	tried    []int // relays that failed it, by index

	attempt         // the relay that is asked, at last the one that greeted
	second  attempt // asked beside it, in a hedge
	alone   bool    // there is no second relay to ask beside the present one
	wake    time.Duration

	warmable int // its place among those that might have kept the standby warm; notWarmable: it is none of them
	chosen   int // the tier that it was given first
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
		server: server, length: length, accepted: d.at, wake: never,
		tried: d.sessions[who].tried[:0], warmable: notWarmable,
	}
	d.servers[server].running++
	d.running++
	d.ask(who)
}

// end forgets a session whose leases are empty.
func (d *day) end(who int) {
	d.servers[d.sessions[who].server].running--
	d.running--
	d.free = append(d.free, int32(who))
}

// ask takes the next relay for a session, each at most once, until one is to be waited for or none is left. This is what proxy
// does.
func (d *day) ask(who int) {
	s := &d.sessions[who]
	for {
		if d.at >= s.accepted+sessionSetup {
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
		s.attempt = attempt{lease: lease}
		s.alone = false
		if len(s.tried) == 0 {
			s.chosen = d.ledger.tier[lease.Backend().ID()]
			s.warmable = d.warmNext()
		}
		if d.dial(s, &s.attempt) {
			d.arm(who)
			return
		}
	}
}

func (f *failures) count(err error) {
	if errors.Is(err, balancer.ErrTried) {
		f.tried++
	} else {
		f.down++ // no relay has a limit here, so none is ever full
	}
}

// greeted lets the session run with the relay that is its first by now.
func (d *day) greeted(who int) {
	s := &d.sessions[who]
	s.lease.Established(d.now(), s.ends-s.asked)
	s.wake = never
	p, tier := d.cfg.phaseAt(s.asked), d.ledger.tier[s.index]
	d.result.sessions[p]++
	d.setUp(s.accepted)
	d.ledger.session(p, d.at, s.index, s.length)
	if s.warmable != notWarmable {
		d.warmEnds(s.warmable, s.lease.Warm())
		if tier > 0 && s.chosen == 0 {
			d.result.warm.helped++
		}
	}
	if tier > 0 && s.chosen > 0 && !s.lease.Warm() {
		d.result.moves.leftHome(s.asked)
	}
	d.events.push(d.at+s.length, sessionEnds, who)
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
