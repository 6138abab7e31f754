package sim

import "time"

// moves is how one balancer leaves its own site when that fails, and how it returns. Times are counted from the failure's
// start and from its end; never where it did not happen.
type moves struct {
	from, to time.Duration // of the failure
	relays   int           // of its own site; 0: another site fails, or none
	away     int           // those of them that are down since the failure began

	lastAsked   time.Duration // the last session asked a failed relay
	allDown     time.Duration // the last relay was taken down
	lastStandby time.Duration // after the failure: the last session was given to the standby, its own site not being in use
	allBack     time.Duration // the last relay was brought back
}

const never time.Duration = -1

func newMoves(c *Config, p *plan) moves {
	m := moves{lastAsked: never, allDown: never, lastStandby: never, allBack: never}
	if p.site == failedSite && c.FailFor > 0 {
		m.from, m.to, m.relays = c.FailAt, c.FailAt+c.FailFor, p.local
	}
	return m
}

func (m *moves) during(at time.Duration) bool { return m.relays > 0 && at >= m.from && at < m.to }

// after covers the settling time only: what befalls single relays later is no part of the return.
func (m *moves) after(at time.Duration) bool {
	return m.relays > 0 && at >= m.to && at < m.to+settling
}

// asked notes that a session asks a relay of its own site that fails.
func (m *moves) asked(at time.Duration) {
	if m.during(at) {
		m.lastAsked = at - m.from
	}
}

// leftHome notes that a session was given to the standby first.
func (m *moves) leftHome(at time.Duration) {
	if m.after(at) {
		m.lastStandby = at - m.to
	}
}

// turned notes that a relay of its own site went down or came up. No relay has a failure of its own at that time, so each goes
// down once and comes up once. A check that began in the failure may take one down after it.
func (m *moves) turned(at time.Duration, up bool) {
	if !m.during(at) && !m.after(at) {
		return
	}
	if !up {
		m.away++
		if m.away == m.relays {
			m.allDown = at - m.from
		}
		return
	}
	m.away--
	if m.away == 0 {
		m.allBack = at - m.to
	}
}

// warmth is how much of a balancer's mail went to the standby though its own site was usable.
type warmth struct {
	sessions int64 // given to anyone, while a relay of its own site was up
	kept     int64 // of those, given to the standby at once: to keep it warm
	helped   int64 // of those, given to it because relays of its own site had failed the session
}

// session notes one that was greeted by a relay of this tier, after it was first given to one of the tier chosen.
func (w *warmth) session(usable bool, chosen, tier int) {
	if !usable {
		return
	}
	w.sessions++
	switch {
	case tier == 0:
	case chosen > 0:
		w.kept++
	default:
		w.helped++
	}
}
