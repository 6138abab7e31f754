package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Name is a name that relays are found under in DNS.
type Name struct {
	Name     string            // as the configuration writes it, such as mx:relays.example.com
	Relays   int               // that are used of it
	Answered time.Time         // the last good answer with nothing missing; zero: never
	Error    string            // why it cannot be looked up, or not all of it; "": it can
	Failures map[string]uint64 // look-ups that failed, by why
}

type nameStatus struct {
	Name     string            `json:"name"`
	Relays   int               `json:"relays"`
	Answered time.Time         `json:"answered_at,omitzero"`
	Age      float64           `json:"answer_age_seconds"`
	Error    string            `json:"error,omitempty"`
	Failures map[string]uint64 `json:"failures"`
}

func (s *Server) nameStatus(now time.Time) []nameStatus {
	all := []nameStatus{}
	if s.Names == nil {
		return all
	}
	for _, n := range s.Names() {
		all = append(all, nameStatus{
			Name: n.Name, Relays: n.Relays, Answered: n.Answered, Error: n.Error, Failures: n.Failures,
			Age: max(now.Sub(or(n.Answered, s.began)).Seconds(), 0),
		})
	}
	return all
}

// NamesChanged takes in that relays were found, or are found no more.
func (s *Server) NamesChanged(changes []string) {
	s.events.add(event{Time: s.time(), Kind: kindDNS, To: "changed", Text: "DNS: " + some(changes)})
}

// NameFails takes in that a name cannot be looked up from now on, or, without an
// error, that it can again.
func (s *Server) NameFails(name string, err error) {
	v := event{Time: s.time(), Kind: kindDNS, To: "found", Text: "DNS: " + name + " is found again"}
	if err != nil {
		v.To, v.Reason, v.Text = "failing", err.Error(), "DNS: "+name+" is not found, what was found before is used: "+err.Error()
	}
	s.events.add(v)
}

// nameMetrics are the metrics of names. Their labels are bounded by the configuration.
type nameMetrics struct {
	names    []family[nameStatus]
	failures *prometheus.Desc
}

func newNameMetrics() nameMetrics {
	type of = nameStatus
	labels := []string{"name"}
	return nameMetrics{
		names: []family[of]{
			gauge("smtplb_dns_answer_age_seconds", "How long ago DNS last answered for a name, with nothing missing; since the start "+
				"where it never has. What it said then is used still.", labels, func(n *of) float64 { return n.Age }),
			gauge("smtplb_dns_relays", "Relays that are used of those found under a name.", labels,
				func(n *of) float64 { return float64(n.Relays) }),
		},
		failures: prometheus.NewDesc("smtplb_dns_failures_total", "Look-ups of a name that failed, by why.",
			[]string{"name", "fault"}, nil),
	}
}

func (m *nameMetrics) describe(ch chan<- *prometheus.Desc) {
	describe(ch, m.names)
	ch <- m.failures
}

func (m *nameMetrics) collect(ch chan<- prometheus.Metric, all []nameStatus) {
	for i := range all {
		put(ch, m.names, &all[i], all[i].Name)
		for fault, n := range all[i].Failures {
			ch <- constant(m.failures, prometheus.CounterValue, float64(n), all[i].Name, fault)
		}
	}
}
