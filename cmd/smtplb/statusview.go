package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"smtplb/internal/admin"
)

// statusView is what the commands read of /api/v1/status.
type statusView struct {
	Version   string         `json:"version"`
	Uptime    float64        `json:"uptime_seconds"`
	Ready     bool           `json:"ready"`
	NotReady  string         `json:"not_ready_reason"`
	Listeners []listenerView `json:"listeners"`
	Sessions  struct {
		Accepted int64 `json:"accepted"`
		Open     int64 `json:"open"`
	} `json:"sessions"`
	Pools []poolView `json:"pools"`
	Names []nameView `json:"names"`

	Cluster *clusterView `json:"cluster"`
}

// nameView is a name that relays are found under.
type nameView struct {
	Name     string    `json:"name"`
	Relays   int       `json:"relays"`
	Answered time.Time `json:"answered_at"`
	Error    string    `json:"error"`
}

type listenerView struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	Pool     string `json:"pool"`
	Protocol string `json:"protocol"`
}

type poolView struct {
	Name      string     `json:"name"`
	Failover  bool       `json:"failover"`
	WarmShare float64    `json:"warm_share"`
	Tiers     []tierView `json:"tiers"`
}

type tierView struct {
	Tier     int           `json:"tier"`
	Active   bool          `json:"active"`
	Warmed   bool          `json:"warmed"`
	Ramp     float64       `json:"ramp"`
	Backends []backendView `json:"backends"`
}

type backendView struct {
	Name        string    `json:"name"`
	Address     string    `json:"address"`
	Site        string    `json:"site"`
	Tier        int       `json:"tier"`
	Weight      int       `json:"weight"`
	Part        float64   `json:"weight_part"`
	State       string    `json:"state"`
	Reason      string    `json:"reason"`
	Since       time.Time `json:"since"`
	Until       time.Time `json:"until"`
	Sessions    int       `json:"sessions"`
	Established uint64    `json:"established"`
	Failures    uint64    `json:"failures"`
}

// status asks for everything; body is the answer as it was.
func (c *client) status(ctx context.Context) (v statusView, body []byte, err error) {
	body, err = c.get(ctx, "/api/v1/status")
	if err != nil {
		return v, nil, err
	}
	if err := json.Unmarshal(body, &v); err != nil || v.Version == "" {
		return v, nil, c.stranger("its status is another program's")
	}
	return v, body, nil
}

// member is a backend of a pool.
type member struct {
	pool string
	backendView
}

func (m *member) String() string { return m.pool + "/" + m.Name }

// members are the backends of all pools.
func (v *statusView) members() []member {
	var all []member
	for i := range v.Pools {
		for j := range v.Pools[i].Tiers {
			for _, b := range v.Pools[i].Tiers[j].Backends {
				all = append(all, member{v.Pools[i].Name, b})
			}
		}
	}
	return all
}

// find is what a backend is now.
func (v *statusView) find(m *member) (now member, there bool) {
	all := v.members()
	at := slices.IndexFunc(all, func(o member) bool { return o.pool == m.pool && o.Name == m.Name })
	if at < 0 {
		return member{}, false
	}
	return all[at], true
}

// pick finds the backend that a name means, alone or as pool/name.
func pick(name string, all []member) (member, error) {
	var found []member
	for i := range all {
		if all[i].Name == name || all[i].String() == name {
			found = append(found, all[i])
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return member{}, fmt.Errorf("%q is ambiguous: it may be %s", name, alternatives(found))
	case len(all) == 0:
		return member{}, errors.New("there is no backend at all")
	}
	if meant := nearest(name, all); len(meant) > 0 {
		return member{}, fmt.Errorf("there is no backend %q: did you mean %s?", name, alternatives(meant))
	}
	const most = 20
	return member{}, fmt.Errorf("there is no backend %q: there are %s", name, alternatives(all[:min(len(all), most)]))
}

// nearest are the backends that a wrong name may mean, the nearest first.
func nearest(name string, all []member) []member {
	var known []string
	for i := range all {
		if !slices.Contains(known, all[i].Name) {
			known = append(known, all[i].Name)
		}
	}
	var meant []member
	for _, n := range admin.Near(name, known) {
		for i := range all {
			if all[i].Name == n {
				meant = append(meant, all[i])
			}
		}
	}
	return meant
}

func alternatives(all []member) string {
	names := make([]string, len(all))
	for i := range all {
		names[i] = harmless(all[i].String())
	}
	return strings.Join(names, " or ")
}
