package sim

import "time"

// moves is how one balancer leaves its own site when that fails, and how it returns. Times are counted from the failure's
// start and from its end; never where it did not happen.
type moves struct {
	from, to time.Duration // of the failure
	relays   int           // of its own site; 0: another site fails, or none
	away     int           // those of them that are not up since the failure began

	lastAsked   time.Duration // the last session asked a failed relay
	allDown     time.Duration // none of the relays was up any more
	left        time.Duration // new sessions went to the standby's tier
	lastStandby time.Duration // after the failure: the last session was given to the standby, its own site not being in use
	allBack     time.Duration // the last relay was brought back
	returned    time.Duration // new sessions went to its own tier again

	changes int // of the tier
}

const never time.Duration = -1

func newMoves(c *Config, p *plan) moves {
	m := moves{lastAsked: never, allDown: never, left: never, lastStandby: never, allBack: never, returned: never}
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

// leftHome notes that a session was given to the standby first, and not to keep it warm.
func (m *moves) leftHome(at time.Duration) {
	if m.after(at) {
		m.lastStandby = at - m.to
	}
}

// tiered notes that new sessions go to another tier.
func (m *moves) tiered(at time.Duration, to int) {
	if !m.during(at) && !m.after(at) {
		return
	}
	m.changes++
	switch {
	case to > 0:
		m.left = at - m.from
	case m.after(at):
		m.returned = at - m.to
	}
}

// turned notes that a relay of its own site came up, or is up no more. No relay has a failure of its own at that time. One may
// go and come several times: an ejection ends by itself, and a check that began in the failure may take one down after it.
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
