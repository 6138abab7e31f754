package admin

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// threeBalancers is what the first one of three sees, when it does not hear the last.
func threeBalancers() *Cluster {
	return &Cluster{
		Self: "192.0.2.11:7946", Balancers: 3,
		Peers: []Peer{
			{Name: "192.0.2.12:7946", Reach: "in reach", Silent: 200 * time.Millisecond, Others: true},
			{Name: "192.0.2.13:7946", Reach: "out of reach", Silent: -1},
		},
		Limits: []SharedLimit{{Name: "out/relay-a", Limit: 30, Share: 10, Quota: 14, Lent: 2, Borrowed: 6, Elder: 1}},
	}
}

func TestOtherBalancersAreShown(t *testing.T) {
	r := newRig(t)
	if text := r.scrape(t); strings.Contains(text, "smtplb_cluster_") || strings.Contains(r.ask(t, "GET", "/api/v1/status").Body.String(), "cluster") {
		t.Error("a cluster is shown where there is none")
	}
	r = newRig(t)
	r.Cluster = threeBalancers
	answer := r.ask(t, "GET", "/api/v1/status")
	check(t, answer, http.StatusOK)
	var st status
	if err := json.Unmarshal(answer.Body.Bytes(), &st); err != nil {
		t.Fatal(err)
	}
	c := st.Cluster
	if c == nil || c.Balancers != 3 || len(c.Peers) != 2 || *c.Peers[0].Silent != 0.2 || c.Peers[1].Silent != nil || len(c.Limits) != 1 || c.Limits[0].Elder != 1 {
		t.Errorf("cluster %+v", c)
	}
	text := r.scrape(t)
	for _, want := range []string{
		`smtplb_cluster_balancers 3`,
		`smtplb_cluster_peer_in_reach{peer="192.0.2.12:7946"} 1`,
		`smtplb_cluster_peer_in_reach{peer="192.0.2.13:7946"} 0`,
		`smtplb_cluster_limit_sessions{limit="out/relay-a"} 30`,
		`smtplb_cluster_limit_quota_sessions{limit="out/relay-a"} 14`,
		`smtplb_cluster_limit_lent_sessions{limit="out/relay-a"} 2`,
		`smtplb_cluster_limit_borrowed_sessions{limit="out/relay-a"} 6`,
	} {
		if !strings.Contains(text, want+"\n") && !strings.Contains(text, want+".0\n") {
			t.Errorf("%s is not in the metrics", want)
		}
	}
}
