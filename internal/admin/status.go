package admin

import (
	"net/http"
	"net/netip"
	"time"

	"smtplb/balancer"
	"smtplb/proxy"
)

// status is the whole state at one moment: the answer of /api/v1/status, and
// what the metrics are made of. openapi.yaml says what each field means.
type status struct {
	Version   string           `json:"version"`
	StartedAt time.Time        `json:"started_at"`
	Uptime    float64          `json:"uptime_seconds"`
	Ready     bool             `json:"ready"`
	NotReady  string           `json:"not_ready_reason,omitempty"`
	Listeners []listenerStatus `json:"listeners"`
	Sessions  sessionStatus    `json:"sessions"`
	Pools     []poolStatus     `json:"pools"`
	Names     []nameStatus     `json:"names"`
	Cluster   *clusterStatus   `json:"cluster,omitempty"`

	refused bool // the last reload; for the metrics alone
}

type listenerStatus struct {
	Name     string         `json:"name"`
	Address  netip.AddrPort `json:"address"`
	Pool     string         `json:"pool"`
	Protocol string         `json:"protocol"`
}

type sessionStatus struct {
	Accepted    int64            `json:"accepted"`
	Open        int64            `json:"open"`
	Hedging     int64            `json:"hedging"`
	Hedged      int64            `json:"hedged"`
	Descriptors int64            `json:"descriptors"`
	Limit       int64            `json:"descriptor_limit"`
	BytesUp     int64            `json:"bytes_up"`
	BytesDown   int64            `json:"bytes_down"`
	Ends        map[string]int64 `json:"ends"`

	late proxy.Lateness // for the metrics alone
}

type poolStatus struct {
	Name         string       `json:"name"`
	Since        time.Time    `json:"since"`
	Failover     bool         `json:"failover"`
	WarmShare    float64      `json:"warm_share"`
	WarmSessions uint64       `json:"warm_sessions"`
	Tiers        []tierStatus `json:"tiers"`
}

type tierStatus struct {
	Tier        int             `json:"tier"`
	Active      bool            `json:"active"`
	Warmed      bool            `json:"warmed"`
	Usable      bool            `json:"usable"`
	UsableSince time.Time       `json:"usable_since,omitzero"`
	Healthy     int             `json:"healthy"`
	MinHealthy  int             `json:"min_healthy"`
	LastSession time.Time       `json:"last_session,omitzero"`
	Idle        float64         `json:"idle_seconds"`
	Ramp        float64         `json:"ramp"`
	Backends    []backendStatus `json:"backends"`
}

type backendStatus struct {
	Name        string    `json:"name"`
	Address     string    `json:"address,omitempty"`
	Site        string    `json:"site,omitempty"`
	Tier        int       `json:"tier"`
	Weight      int       `json:"weight"`
	Part        float64   `json:"weight_part"`
	MaxSessions int       `json:"max_sessions"`
	Quota       int       `json:"quota"`
	State       string    `json:"state"`
	Reason      string    `json:"reason"`
	Since       time.Time `json:"since"`
	Until       time.Time `json:"until,omitzero"`
	Habit       float64   `json:"greeting_habit_ms"`
	Sessions    int       `json:"sessions"`
	Picks       uint64    `json:"picks"`
	Established uint64    `json:"established"`
	Failures    uint64    `json:"failures"`
}

func (s *Server) serveStatus(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, "application/json", s.status())
}

// status asks everybody for the state now.
func (s *Server) status() *status {
	now := s.time()
	st := &status{
		Version: s.Version, StartedAt: s.began, Uptime: now.Sub(s.began).Seconds(),
		Listeners: []listenerStatus{}, Pools: s.poolStatuses(), Sessions: s.sessions(), Names: s.nameStatus(now), Cluster: s.clusterStatus(),
		refused: s.refused.Load(),
	}
	st.Ready, st.NotReady = s.ready()
	if s.Listeners != nil {
		for _, l := range s.Listeners() {
			st.Listeners = append(st.Listeners, listenerStatus(l))
		}
	}
	return st
}

// poolStatuses asks all pools for their state now.
func (s *Server) poolStatuses() []poolStatus {
	now := s.time()
	all := []poolStatus{}
	for _, p := range s.pools() {
		all = append(all, s.poolStatus(now, &p))
	}
	return all
}

// sessions are the proxy's counts. Every end is there, with 0 if need be: a
// metric that begins with its first event hides it from rate().
func (s *Server) sessions() sessionStatus {
	var c proxy.Stats
	if s.Stats != nil {
		c = s.Stats()
	}
	st := sessionStatus{
		Accepted: c.Accepted, Open: c.Open, Hedging: c.Hedging, Hedged: c.Hedged, Descriptors: c.Descriptors, Limit: c.DescriptorLimit,
		BytesUp: c.BytesUp, BytesDown: c.BytesDown, Ends: map[string]int64{}, late: c.Late,
	}
	for e := proxy.ClientClosed; e <= proxy.Shut; e++ {
		st.Ends[e.String()] = c.Ends[e]
	}
	return st
}

func (s *Server) poolStatus(now time.Time, p *Pool) poolStatus {
	since := p.Since
	if since.IsZero() {
		since = s.began
	}
	st := poolStatus{
		Name: p.Balancer.Name(), Since: since, WarmShare: p.WarmShare, WarmSessions: p.Balancer.WarmSessions(),
		Tiers: []tierStatus{},
	}
	for i, t := range p.Balancer.Tiers(now) {
		st.Failover = st.Failover || t.Active && i > 0
		st.Tiers = append(st.Tiers, newTierStatus(now, since, &t))
	}
	for i, b := range p.Balancer.Snapshot(now) {
		for j := range st.Tiers {
			if t := &st.Tiers[j]; t.Tier == b.Tier {
				t.Backends = append(t.Backends, newBackendStatus(since, p.address(i), &b))
			}
		}
	}
	return st
}

// newTierStatus puts a tier into words; since is when its pool was made.
func newTierStatus(now, since time.Time, t *balancer.TierStatus) tierStatus {
	st := tierStatus{
		Tier: t.Priority, Active: t.Active, Warmed: t.Warmed, Healthy: t.Healthy, MinHealthy: t.MinHealthy,
		Usable: t.Healthy >= t.MinHealthy, LastSession: t.LastSession, Ramp: t.Ramp,
		Idle: now.Sub(or(t.LastSession, since)).Seconds(), Backends: []backendStatus{},
	}
	st.Idle = max(st.Idle, 0) // established while this was asked
	if st.Usable {
		st.UsableSince = or(t.Since, since)
	}
	return st
}

// newBackendStatus puts a backend into words; since is when its pool was made.
func newBackendStatus(since time.Time, address string, b *balancer.BackendStatus) backendStatus {
	return backendStatus{
		Name: b.Name, Address: address, Site: b.Site, Tier: b.Tier,
		Weight: b.Weight, Part: b.Part, MaxSessions: b.MaxSessions, Quota: b.Quota,
		State: b.State.String(), Reason: b.Reason, Since: or(b.Since, since), Until: b.Until,
		Habit: float64(b.Habit.Microseconds()) / 1e3, Sessions: b.Active,
		Picks: b.Picks, Established: b.Established, Failures: b.Failures,
	}
}

func or(t, otherwise time.Time) time.Time {
	if t.IsZero() {
		return otherwise
	}
	return t
}
