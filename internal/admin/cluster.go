package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Cluster is what there is to see of the agreement with other balancers.
type Cluster struct {
	Self      string // this balancer's address for them
	Balancers int    // how many share the limits, this one too
	Peers     []Peer
	Limits    []SharedLimit
}

// Peer is another balancer.
type Peer struct {
	Name   string        // its address
	Reach  string        // "in reach", "out of reach" or "left"
	Silent time.Duration // for how long it was not heard; negative: it never was
	Others bool          // this balancer or another hears it
}

// SharedLimit is a limit that holds for all balancers together.
type SharedLimit struct {
	Name     string // pool/backend, or the pool and keep_warm
	Limit    int    // as configured
	Share    int    // of it, what is this balancer's own
	Quota    int    // what it may use now
	Lent     int    // of its share, to peers
	Borrowed int    // of the peers' shares
	Elder    int    // kept for sessions of processes that were replaced
}

type clusterStatus struct {
	Self      string        `json:"self"`
	Balancers int           `json:"balancers"`
	Peers     []peerStatus  `json:"peers"`
	Limits    []limitStatus `json:"limits"`
}

type peerStatus struct {
	Name   string   `json:"name"`
	Reach  string   `json:"reach"`
	Silent *float64 `json:"silent_seconds,omitempty"`
	Others bool     `json:"alive_for_any"`
}

type limitStatus struct {
	Name     string `json:"name"`
	Limit    int    `json:"limit"`
	Share    int    `json:"share"`
	Quota    int    `json:"quota"`
	Lent     int    `json:"lent"`
	Borrowed int    `json:"borrowed"`
	Elder    int    `json:"old_processes"`
}

// clusterStatus is nil where there are no other balancers.
func (s *Server) clusterStatus() *clusterStatus {
	if s.Cluster == nil {
		return nil
	}
	c := s.Cluster()
	if c == nil {
		return nil
	}
	st := &clusterStatus{Self: c.Self, Balancers: c.Balancers, Peers: []peerStatus{}, Limits: []limitStatus{}}
	for _, p := range c.Peers {
		ps := peerStatus{Name: p.Name, Reach: p.Reach, Others: p.Others}
		if p.Silent >= 0 {
			seconds := p.Silent.Seconds()
			ps.Silent = &seconds
		}
		st.Peers = append(st.Peers, ps)
	}
	for _, l := range c.Limits {
		st.Limits = append(st.Limits, limitStatus(l))
	}
	return st
}

// clusterMetrics are those of the agreement. Their labels are bounded by the configuration.
type clusterMetrics struct {
	balancers *prometheus.Desc
	peers     []family[peerStatus]
	limits    []family[limitStatus]
}

func newClusterMetrics() clusterMetrics {
	limit := []string{"limit"}
	return clusterMetrics{
		balancers: prometheus.NewDesc("smtplb_cluster_balancers", "Balancers that share the limits, this one too, in reach or not.", nil, nil),
		peers: []family[peerStatus]{
			gauge("smtplb_cluster_peer_in_reach", "1 while another balancer is heard. While it is not, its share of each limit stays with it.",
				[]string{"peer"}, func(p *peerStatus) float64 { return truth(p.Reach == "in reach") }),
		},
		limits: []family[limitStatus]{
			gauge("smtplb_cluster_limit_sessions", "A limit that holds for all balancers together.", limit,
				func(l *limitStatus) float64 { return float64(l.Limit) }),
			gauge("smtplb_cluster_limit_quota_sessions", "What this balancer may use of a limit now.", limit,
				func(l *limitStatus) float64 { return float64(l.Quota) }),
			gauge("smtplb_cluster_limit_lent_sessions", "What of this balancer's share others may use now.", limit,
				func(l *limitStatus) float64 { return float64(l.Lent) }),
			gauge("smtplb_cluster_limit_borrowed_sessions", "What of the others' shares this balancer may use now.", limit,
				func(l *limitStatus) float64 { return float64(l.Borrowed) }),
		},
	}
}

func (m *clusterMetrics) describe(ch chan<- *prometheus.Desc) {
	ch <- m.balancers
	describe(ch, m.peers)
	describe(ch, m.limits)
}

func (m *clusterMetrics) collect(ch chan<- prometheus.Metric, st *clusterStatus) {
	if st == nil {
		return
	}
	ch <- constant(m.balancers, prometheus.GaugeValue, float64(st.Balancers))
	for i := range st.Peers {
		put(ch, m.peers, &st.Peers[i], st.Peers[i].Name)
	}
	for i := range st.Limits {
		put(ch, m.limits, &st.Limits[i], st.Limits[i].Name)
	}
}
