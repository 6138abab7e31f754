package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"smtplb/internal/config"
)

const agreeing = `listeners: [{address: "192.0.2.25:25", allow: [10.0.0.0/8]}]
pools:
  - name: out
    backends: [{name: relay-a, address: "10.0.0.1:25", max_sessions: 30}]
    failover: {keep_warm: {max_sessions: 3}}
`

func TestClusterIsRead(t *testing.T) {
	cfg, err := config.Parse("f.yaml", []byte(agreeing+
		`cluster: {bind: "192.0.2.11:7946", peers: ["192.0.2.12:7946", "192.0.2.13:7946"], key_file: /etc/smtplb/cluster.key, hold: 1m}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &cfg.Cluster
	if got := fmt.Sprintln(c.On(), c.Bind, c.Peers, c.KeyFile, c.Hold); got != "true 192.0.2.11:7946 [192.0.2.12:7946 192.0.2.13:7946] /etc/smtplb/cluster.key 1m0s\n" {
		t.Error(got)
	}
	for _, w := range cfg.Warnings {
		if strings.Contains(w.String(), "balancers of cluster") {
			t.Errorf("warning %v", w)
		}
	}
	alone, err := config.Parse("f.yaml", []byte(agreeing), nil)
	if err != nil || alone.Cluster.On() || alone.Cluster.Hold != 15*time.Minute {
		t.Errorf("%+v, %v", alone, err)
	}
}

func TestMistakesAboutTheCluster(t *testing.T) {
	const key = ", key_file: /k}\n"
	for _, tt := range []struct{ name, text, want string }{
		{"no bind", `cluster: {peers: ["192.0.2.12:7946"]` + key, `f.yaml:6: cluster.bind: required with peers`},
		{"every address", `cluster: {bind: "0.0.0.0:7946", peers: ["192.0.2.12:7946"]` + key, `f.yaml:6: cluster.bind: "0.0.0.0:7946": must be the address by which the peers`},
		{"a name", `cluster: {bind: "lb1:7946", peers: ["192.0.2.12:7946"]` + key, `f.yaml:6: cluster.bind: "lb1:7946": must be IP:port`},
		{"no port", `cluster: {bind: "192.0.2.11", peers: ["192.0.2.12:7946"]` + key, `f.yaml:6: cluster.bind: "192.0.2.11": must be IP:port`},
		{"no peers", `cluster: {bind: "192.0.2.11:7946"` + key, `f.yaml:6: cluster.peers: required: the addresses of the other balancers`},
		{"itself", `cluster: {bind: "192.0.2.11:7946", peers: ["192.0.2.12:7946", "192.0.2.11:7946"]` + key, `f.yaml:6: cluster.peers[1]: "192.0.2.11:7946": is cluster.bind`},
		{"twice", `cluster: {bind: "192.0.2.11:7946", peers: ["192.0.2.12:7946", "192.0.2.12:7946"]` + key, `f.yaml:6: cluster.peers[1]: "192.0.2.12:7946": is cluster.peers[0] already`},
		{"another family", `cluster: {bind: "192.0.2.11:7946", peers: ["[2001:db8::1]:7946"]` + key, `f.yaml:6: cluster.peers[0]: "[2001:db8::1]:7946": must be of the same family`},
		{"everybody", `cluster: {bind: "192.0.2.11:7946", peers: ["0.0.0.0:7946"]` + key, `f.yaml:6: cluster.peers[0]: "0.0.0.0:7946": must be the address of one balancer`},
		{"too many", `cluster: {bind: "192.0.2.11:7946", peers: [` + many(32) + `]` + key, `f.yaml:6: cluster.peers: a list: must have at most 31 elements, has 32`},
		{"no key", `cluster: {bind: "192.0.2.11:7946", peers: ["192.0.2.12:7946"]}`, `f.yaml:6: cluster.key_file: required: without a key`},
		{"a hold of days", `cluster: {bind: "192.0.2.11:7946", peers: ["192.0.2.12:7946"], hold: 48h` + key, `f.yaml:6: cluster.hold: "48h": must be 0s to 24h`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse("f.yaml", []byte(agreeing+tt.text), nil)
			if err == nil || strings.Count(err.Error(), "\n") > 0 || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func many(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("\"192.0.2.%d:7946\"", 20+i))
	}
	return strings.Join(all, ", ")
}

func TestALimitBelowTheNumberOfBalancersIsWarnedOf(t *testing.T) {
	cfg, err := config.Parse("f.yaml", []byte(strings.Replace(agreeing, "max_sessions: 30", "max_sessions: 2", 1)+
		`cluster: {bind: "192.0.2.11:7946", peers: ["192.0.2.12:7946", "192.0.2.13:7946"], key_file: /k}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0].String(), "pools[0].backends[0].max_sessions: 2: is less than the 3 balancers") {
		t.Errorf("warnings %v", cfg.Warnings)
	}
}
