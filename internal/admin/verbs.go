package admin

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"smtplb/balancer"
)

// order is what a person may tell a pool to do with a backend.
type order func(p *balancer.Pool, now time.Time, id int) bool

func orders() map[string]order {
	return map[string]order{
		"drain":   (*balancer.Pool).Drain,
		"enable":  (*balancer.Pool).Enable,
		"disable": (*balancer.Pool).Disable,
	}
}

// done is the answer to an order that was carried out.
type done struct {
	Pool    string        `json:"pool"`
	Changed bool          `json:"changed"` // the state is another one than before
	Backend backendStatus `json:"backend"` // afterwards
}

// serveVerb carries an order out. One that asks for what is so already changes
// nothing and is answered like the others, so it may be sent again.
func (s *Server) serveVerb(w http.ResponseWriter, r *http.Request) {
	carryOut, ok := orders()[r.PathValue("verb")]
	if !ok {
		verbs := []string{"drain", "enable", "disable"}
		(&problem{
			Status: http.StatusBadRequest, Near: Near(r.PathValue("verb"), verbs),
			Detail: fmt.Sprintf("%s is nothing that can be done with a backend: drain, enable and disable are", quote(r.PathValue("verb"))),
		}).write(w)
		return
	}
	now := s.time()
	pool, was, missing := s.find(now, r.PathValue("pool"), r.PathValue("name"))
	if missing != nil {
		missing.write(w)
		return
	}
	carryOut(pool.Balancer, now, was.ID)
	after, address := was, ""
	for i, b := range pool.Balancer.Snapshot(now) {
		if b.ID == was.ID {
			after, address = b, pool.address(i)
		}
	}
	since := or(pool.Since, s.began)
	writeJSON(w, http.StatusOK, "application/json", done{
		Pool: pool.Balancer.Name(), Changed: after.State != was.State,
		Backend: newBackendStatus(since, address, &after),
	})
}

// find returns the pool and the backend in it, or why there is none.
func (s *Server) find(now time.Time, poolName, name string) (pool Pool, b balancer.BackendStatus, missing *problem) {
	pools := s.pools()
	at := slices.IndexFunc(pools, func(p Pool) bool { return p.Balancer.Name() == poolName })
	if at < 0 {
		var names []string
		for _, p := range pools {
			names = append(names, p.Balancer.Name())
		}
		return Pool{}, b, &problem{
			Status: http.StatusNotFound, Near: Near(poolName, names), Detail: "there is no pool " + quote(poolName),
		}
	}
	var names []string
	for _, b := range pools[at].Balancer.Snapshot(now) {
		if b.Name == name {
			return pools[at], b, nil
		}
		names = append(names, b.Name)
	}
	missing = &problem{
		Status: http.StatusNotFound, Near: Near(name, names),
		Detail: fmt.Sprintf("pool %s has no backend %s", poolName, quote(name)),
	}
	for i := range pools {
		if slices.Contains(backendNames(now, &pools[i]), name) {
			missing.Detail += "; pool " + pools[i].Balancer.Name() + " has"
		}
	}
	return Pool{}, b, missing
}

// backendNames are the names of a pool's backends, in their order.
func backendNames(now time.Time, p *Pool) []string {
	var names []string
	for _, b := range p.Balancer.Snapshot(now) {
		names = append(names, b.Name)
	}
	return names
}
