package sim

import (
	"fmt"
	"time"
)

// Report is what a fleet's day came to. Shares and errors are parts of 1, times are seconds.
type Report struct {
	Fleet   Fleet   `json:"fleet"`
	Failure Failure `json:"failure"`

	Sessions Sessions `json:"sessions"`
	Setup    []Setup  `json:"setup"`

	// Shares is, for each tier and part of the day that had sessions, how far the relays were off their weights.
	Shares []ShareError `json:"share_error"`
	// RelayLoad is the same of the relays, each by all balancers together.
	RelayLoad []RelayLoadError `json:"relay_load_error"`
	// Imbalance is of the sessions that the relays ran, minute by minute.
	Imbalance []Imbalance `json:"imbalance"`
	Warm      Warm        `json:"warm_share"`

	// Shift and Failback are of the balancers whose site failed.
	Shift    Shift    `json:"time_to_shift"`
	Failback Failback `json:"time_to_fail_back"`

	Notes []string `json:"notes"` // for people: what the numbers do not say
}

// Fleet is what was simulated.
type Fleet struct {
	Balancers int    `json:"balancers"`
	Relays    int    `json:"relays"`
	Sites     int    `json:"sites"`
	Servers   int    `json:"servers"` // Exchange servers
	Seed      uint64 `json:"seed"`

	OwnRelays     Range `json:"own_relays"`     // in a balancer's pool, of its own site
	StandbyRelays Range `json:"standby_relays"` // in a balancer's pool, of the next site
}

// Range is the least and the most.
type Range struct {
	Least int `json:"least"`
	Most  int `json:"most"`
}

// Failure is what went wrong.
type Failure struct {
	Site        string  `json:"site"` // "": none
	At          float64 `json:"at"`   // of the day
	For         float64 `json:"for"`
	As          string  `json:"as"`
	Relays      int     `json:"relays"`       // that failed with it
	RelayFaults int     `json:"relay_faults"` // relays that failed by themselves, some other time
}

// Sessions are the whole fleet's.
type Sessions struct {
	Total    int64 `json:"total"`    // that a relay greeted well
	Attempts int64 `json:"attempts"` // at relays, by those and by the failed ones

	Retries     float64 `json:"retries_per_session"`
	RetriesAway float64 `json:"retries_per_session_site_away"`
	MostAsked   int     `json:"most_relays_asked"` // by one session

	Failed     int64 `json:"failed"` // no relay was found: the client read a 421
	FailedDown int64 `json:"failed_none_up"`
	FailedAll  int64 `json:"failed_each_tried"`
	FailedLate int64 `json:"failed_out_of_time"`

	Hedged    int64 `json:"hedged"`    // times that a second relay was asked beside a late one
	Overtaken int64 `json:"overtaken"` // of those, relays that lost to the second and would have greeted

	Held int64 `json:"held_by_servers"` // waited because their server had 20 connections, or was parked after a failed one
}

// Setup is how long a session took from its start until a relay had greeted it, in one part of the day.
type Setup struct {
	Phase    string `json:"phase"`
	Sessions int64  `json:"sessions"`
	Took     Spread `json:"took"`
}

// ShareError is how far the relays of one tier were off the shares that their weights give them, in one part of the day.
type ShareError struct {
	Tier      int    `json:"tier"`
	Phase     string `json:"phase"`
	Balancers int    `json:"balancers"` // with enough sessions to say
	TooFew    int    `json:"too_few"`   // with some, but not enough
	Sessions  int64  `json:"sessions"`

	// Over the balancers, each by its worst relay: as a part of the tier's sessions, and in sessions.
	Share Spread `json:"share"`
	Count Spread `json:"count"`
}

// RelayLoadError is how far relays were off what weight alone would have given them, as a part of that.
type RelayLoadError struct {
	Phase  string `json:"phase"`
	Relays int    `json:"relays"`  // that were due enough sessions to say
	TooFew int    `json:"too_few"` // that were not
	Error  Spread `json:"error"`
}

// Imbalance is of the sessions that relays ran at once, each relay and minute a case.
type Imbalance struct {
	Phase string `json:"phase"`
	Cases int    `json:"cases"`

	ToMean  Spread `json:"to_site_mean"`         // by weight, as a multiple of the mean of the site's relays
	Perfect Spread `json:"perfect_to_site_mean"` // the same, had each balancer followed the weights exactly
	ToOwed  Spread `json:"to_perfect"`           // as a multiple of that

	WorstRelay string  `json:"worst_relay"` // whose ToMean is highest
	WorstAt    float64 `json:"worst_at"`    // of the day
}

// Warm is what the standby was given while it was not needed.
type Warm struct {
	Configured float64 `json:"configured"`
	Share      float64 `json:"share"`        // of the fleet's sessions
	Error      Spread  `json:"error"`        // over the balancers: between their share and the configured one
	Window     Spread  `json:"window_error"` // over the balancers: the same of 200 sessions in a row, where it was worst
	Windows    int64   `json:"windows"`      // so many such rows there were
	Sessions   int64   `json:"sessions"`
	Helped     int64   `json:"helped_out"` // sessions that the standby took because relays of their own site had failed them
}

// Shift is how long it took from the failure of a site until nobody sent there.
type Shift struct {
	Balancers int    `json:"balancers"`
	LastAsked Spread `json:"last_session_asked"` // until the last session asked a relay of the failed site
	Left      Spread `json:"left"`               // until new sessions went to the standby
	AllDown   Spread `json:"all_down"`           // until none of its relays was up
	Unmoved   int    `json:"unmoved"`            // balancers with a relay of it up all the time
	Changes   int    `json:"tier_changes"`       // of one balancer, at most, from the failure to the end of the return
}

// Failback is how long it took from the end of the failure until the site had its share again.
type Failback struct {
	Balancers   int    `json:"balancers"`
	LastStandby Spread `json:"last_session_to_standby"` // until the last session was given to the standby
	Returned    Spread `json:"returned"`                // until new sessions went to their own site again
	AllBack     Spread `json:"all_back"`                // until every relay was back
	NotBack     int    `json:"not_back"`                // balancers that had not every relay back within five minutes
}

func (r *run) report() *Report {
	rep := &Report{Fleet: r.fleetFacts(), Failure: r.failure(), Sessions: r.sessions(), Warm: r.warm()}
	rep.addSetups(r.setups)
	for p := range phases {
		for tier := range tiers {
			rep.addShares(r.shareError(p, tier))
		}
		rep.addRelayLoad(r.relayLoad(p))
	}
	for p, m := range r.loads.imbalance(r.cfg, r.fleet.relays) {
		rep.addImbalance(phase(p), m)
	}
	rep.Shift, rep.Failback = r.moved()
	if r.cfg.KeepWarm == 0 {
		rep.Notes = append(rep.Notes, "No share of the sessions is kept on the standby: the configured one is 0 %.")
	}
	return rep
}

func (rep *Report) addSetups(s *setups) {
	for part := range s {
		if n := s[part].took.TotalCount(); n > 0 {
			rep.Setup = append(rep.Setup, Setup{setupPart(part), n, s.spread(part)})
		}
	}
}

func (r *run) fleetFacts() Fleet {
	f := Fleet{Balancers: r.cfg.Balancers, Relays: r.cfg.Relays, Sites: r.cfg.Sites, Seed: r.cfg.Seed}
	for i := range r.fleet.plans {
		p := &r.fleet.plans[i]
		f.Servers += p.servers
		f.OwnRelays.extend(p.local, i == 0)
		f.StandbyRelays.extend(len(p.pool)-p.local, i == 0)
	}
	return f
}

func (r *Range) extend(n int, first bool) {
	if first {
		*r = Range{n, n}
	}
	*r = Range{min(r.Least, n), max(r.Most, n)}
}

func (r *run) failure() Failure {
	var f Failure
	if r.cfg.FailFor > 0 {
		f.Site, f.As = siteName(failedSite), r.cfg.FailAs.String()
		f.At, f.For = r.cfg.FailAt.Seconds(), r.cfg.FailFor.Seconds()
	}
	for i := range r.fleet.relays {
		relay := &r.fleet.relays[i]
		own := len(relay.faults)
		if r.cfg.FailFor > 0 && relay.site == failedSite {
			f.Relays++
			own--
		}
		f.RelayFaults += own
	}
	return f
}

func (r *run) sessions() Sessions {
	var s Sessions
	var away, awayAttempts int64
	for i := range r.results {
		d := &r.results[i]
		for p := range phases {
			s.Total += d.sessions[p]
			s.Attempts += d.attempts[p]
		}
		away += d.sessions[failing]
		awayAttempts += d.attempts[failing]
		s.MostAsked = max(s.MostAsked, d.most)
		s.FailedDown += d.failed.down
		s.FailedAll += d.failed.tried
		s.FailedLate += d.failed.late
		s.Hedged += d.hedged
		s.Overtaken += d.overtaken
		s.Held += d.held
	}
	s.Failed = s.FailedDown + s.FailedAll + s.FailedLate
	s.Retries = share(s.Attempts-s.Total, s.Total)
	s.RetriesAway = share(awayAttempts-away, away)
	return s
}

func (r *run) shareError(p phase, tier int) (phase, int, shareErrors) {
	var e shareErrors
	for _, l := range r.ledgers {
		e.add(l.tierOf(p, tier))
	}
	return p, tier, e
}

func (rep *Report) addShares(p phase, tier int, e shareErrors) {
	if len(e.share) == 0 && e.few == 0 {
		return
	}
	rep.Shares = append(rep.Shares, ShareError{
		Tier: tier, Phase: p.String(), Balancers: len(e.share), TooFew: e.few, Sessions: e.sessions,
		Share: spreadOf(e.share), Count: spreadOf(e.count),
	})
}

func (r *run) relayLoad(p phase) (phase, []float64, int) {
	got, fair := make([]int64, r.cfg.Relays), make([]float64, r.cfg.Relays)
	for i, l := range r.ledgers { // in their order: fair is not in whole numbers
		for j, number := range r.fleet.plans[i].pool {
			got[number] += l.got[p][j]
			fair[number] += l.fair[p][j]
		}
	}
	errs, few := relayErrors(got, fair)
	return p, errs, few
}

func (rep *Report) addRelayLoad(p phase, errs []float64, few int) {
	if len(errs) > 0 {
		rep.RelayLoad = append(rep.RelayLoad, RelayLoadError{p.String(), len(errs), few, spreadOf(errs)})
	}
}

func (rep *Report) addImbalance(p phase, m imbalances) {
	if len(m.toMean) == 0 {
		return
	}
	rep.Imbalance = append(rep.Imbalance, Imbalance{
		Phase: p.String(), Cases: len(m.toMean),
		ToMean: spreadOf(m.toMean), Perfect: spreadOf(m.perfect), ToOwed: spreadOf(m.toOwed),
		WorstRelay: fmt.Sprintf("relay-%d", m.worst.relay), WorstAt: m.worst.at.Seconds(),
	})
}

func (r *run) warm() Warm {
	w := Warm{Configured: r.cfg.KeepWarm}
	var windows []float64
	all := make([]warmth, len(r.results))
	kept := int64(0)
	for i := range r.results {
		all[i] = r.results[i].warm
		w.Sessions += all[i].sessions
		w.Helped += all[i].helped
		kept += all[i].kept
		w.Windows += all[i].windows
		if all[i].windows > 0 {
			windows = append(windows, all[i].window)
		}
	}
	w.Share = share(kept, w.Sessions)
	w.Error, w.Window = spreadOf(warmErrors(r.cfg.KeepWarm, all)), spreadOf(windows)
	return w
}

func (r *run) moved() (Shift, Failback) {
	var all []moves
	for i := range r.results {
		if r.results[i].moves.relays > 0 {
			all = append(all, r.results[i].moves)
		}
	}
	down := secondsOf(all, func(m *moves) time.Duration { return m.allDown })
	back := secondsOf(all, func(m *moves) time.Duration { return m.allBack })
	asked := secondsOf(all, func(m *moves) time.Duration { return m.lastAsked })
	standby := secondsOf(all, func(m *moves) time.Duration { return m.lastStandby })
	left := secondsOf(all, func(m *moves) time.Duration { return m.left })
	returned := secondsOf(all, func(m *moves) time.Duration { return m.returned })
	changes := 0
	for i := range all {
		changes = max(changes, all[i].changes)
	}
	return Shift{len(all), spreadOf(asked), spreadOf(left), spreadOf(down), len(all) - len(down), changes},
		Failback{len(all), spreadOf(standby), spreadOf(returned), spreadOf(back), len(all) - len(back)}
}
