package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The two engines that were compared: memberlist as it is used here, and etcd, which a site may have. docs/cluster.md has the figures:
//
//	go test -run '^$' -bench Engine -benchtime 5x ./internal/cluster

// report says how long something took: the median, and the longest.
func report(b *testing.B, what string, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
	b.ReportMetric(ms(took[len(took)/2]), "ms-"+what)
	b.ReportMetric(ms(took[len(took)-1]), "ms-"+what+"-most")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkEngineMemberlist measures how long it takes until all others know what one does, that it is gone, and that it is back.
func BenchmarkEngineMemberlist(b *testing.B) {
	for _, n := range []int{2, 3, 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { memberlistRun(b, n) })
	}
}

func memberlistRun(b *testing.B, n int) {
	all := freeAddresses(b, n)
	var sites []*site
	for i := range all {
		s := openSite(b, config(all, i), 10*n)
		s.set(func() { s.tiers = []TierUse{{Pool: "out", Sessions: 1}} })
		sites = append(sites, s)
	}
	know := func(text string, from int) func() bool {
		return func() bool {
			for i, s := range sites {
				if i != from && !s.heard(all[from].String()+": "+text) {
					return false
				}
			}
			return true
		}
	}
	engineSees := func(alive bool) func() bool {
		return func() bool {
			for _, s := range sites[1:] {
				s.node.mu.Lock()
				e := s.node.engine
				s.node.mu.Unlock()
				if e.alive()[all[0].String()] != alive {
					return false
				}
			}
			return true
		}
	}
	for i := range sites {
		eventually(b, "all in reach", know(InReach, i))
	}
	eventually(b, "the engine knows all", engineSees(true))
	eventually(b, "every first count is told", func() bool {
		return !slices.ContainsFunc(sites, func(s *site) bool {
			s.node.mu.Lock()
			defer s.node.mu.Unlock()
			return len(s.node.exchange.heard[tierKey{"out", 0}]) < n-1
		})
	})
	var told, missed, dead, back []time.Duration
	for range b.N {
		for _, s := range sites {
			s.set(func() { s.news, s.events = nil, nil })
		}
		began := time.Now()
		sites[0].set(func() { sites[0].tiers[0].Sessions++ })
		eventually(b, "told", func() bool {
			return !slices.ContainsFunc(sites[1:], func(s *site) bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.news) == 0
			})
		})
		told = append(told, time.Since(began))
		began = time.Now()
		if err := sites[0].node.Close(false); err != nil { // without a word
			b.Fatal(err)
		}
		eventually(b, "missed", know(OutOfReach, 0))
		missed = append(missed, time.Since(began))
		eventually(b, "dead", engineSees(false))
		dead = append(dead, time.Since(began))
		began = time.Now()
		if err := sites[0].node.Open(); err != nil {
			b.Fatal(err)
		}
		eventually(b, "back", know(InReach, 0))
		back = append(back, time.Since(began))
		eventually(b, "the engine knows all", engineSees(true))
	}
	report(b, "told", told)
	report(b, "out-of-reach", missed)
	report(b, "dead-for-engine", dead)
	report(b, "back", back)
}

// etcd is a number of its servers.
type etcd struct {
	b       *testing.B
	clients []string // URLs
	args    [][]string
	servers []*exec.Cmd
}

func startEtcd(b *testing.B, n int) *etcd {
	b.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		b.Skip("etcd is not installed: apt-get install etcd-server")
	}
	e := &etcd{b: b}
	peers, ports := freeAddresses(b, n), freeAddresses(b, n)
	var cluster []string
	for i, p := range peers {
		cluster = append(cluster, fmt.Sprintf("n%d=http://%s", i, p))
	}
	for i := range n {
		client, peer := "http://"+ports[i].String(), "http://"+peers[i].String()
		e.clients = append(e.clients, client)
		e.args = append(e.args, []string{program, "--name", fmt.Sprint("n", i), "--data-dir", b.TempDir(), "--listen-client-urls", client,
			"--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(cluster, ","), "--log-level", "fatal"})
		e.servers = append(e.servers, nil)
	}
	b.Cleanup(func() {
		for i := range e.servers {
			e.kill(i)
		}
	})
	for i := range n {
		e.start(i)
	}
	eventually(b, "etcd serves", func() bool { return e.put(0, "start", "1", "") == nil })
	return e
}

func (e *etcd) start(i int) {
	cmd := exec.Command(e.args[i][0], e.args[i][1:]...) //nolint:gosec // a benchmark's
	if err := cmd.Start(); err != nil {
		e.b.Fatal(err)
	}
	e.servers[i] = cmd
}

func (e *etcd) kill(i int) {
	if cmd := e.servers[i]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		e.servers[i] = nil
	}
}

// call asks a server, by its JSON gateway.
func (e *etcd) call(i int, path, body string, answer any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.clients[i]+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s, %w", response.Status, text, err)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

func base(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func (e *etcd) put(i int, key, value, lease string) error {
	if lease != "" {
		lease = fmt.Sprintf(`,"lease":%q`, lease)
	}
	return e.call(i, "/v3/kv/put", fmt.Sprintf(`{"key":%q,"value":%q%s}`, base(key), base(value), lease), nil)
}

// watch tells of each change of a key, as one of the balancers would see it.
func (e *etcd) watch(ctx context.Context, i int, key string, tell func(text string)) *sync.WaitGroup {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.clients[i]+"/v3/watch",
		strings.NewReader(fmt.Sprintf(`{"create_request":{"key":%q}}`, base(key))))
	if err != nil {
		e.b.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		e.b.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		defer response.Body.Close()
		for in := bufio.NewScanner(response.Body); in.Scan(); {
			tell(in.Text())
		}
	})
	return &done
}

// BenchmarkEngineEtcd measures the same of balancers that are clients of an etcd of as many servers, three at most.
func BenchmarkEngineEtcd(b *testing.B) {
	for _, n := range []int{2, 3, 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { etcdRun(b, n) })
	}
}

func etcdRun(b *testing.B, n int) {
	servers := min(n, 3)
	e := startEtcd(b, servers)
	ctx, cancel := context.WithCancel(b.Context())
	heard := make(chan string, 1000)
	var watchers []*sync.WaitGroup
	for i := range n - 1 {
		watchers = append(watchers, e.watch(ctx, i%max(servers-1, 1), "use", func(text string) { heard <- text }))
	}
	wait := func(what string) {
		for seen := 0; seen < n-1; {
			select {
			case text := <-heard:
				if strings.Contains(text, what) {
					seen++
				}
			case <-time.After(30 * time.Second):
				b.Fatal("never: ", what)
			}
		}
	}
	wait(`"created":true`)
	var told, missed []time.Duration
	for i := range b.N {
		began := time.Now()
		if err := e.put(servers-1, "use", fmt.Sprint(i), ""); err != nil {
			b.Fatal(err)
		}
		wait(base(fmt.Sprint(i)))
		told = append(told, time.Since(began))

		// A balancer that is gone: its key goes with its lease. Two seconds are the least that etcd gives.
		var granted struct{ ID string }
		if err := e.call(0, "/v3/lease/grant", `{"TTL":2}`, &granted); err != nil {
			b.Fatal(err)
		}
		if err := e.put(0, "use", "alive", granted.ID); err != nil {
			b.Fatal(err)
		}
		began = time.Now()
		wait(`"DELETE"`)
		missed = append(missed, time.Since(began))
	}
	cancel()
	for _, w := range watchers {
		w.Wait()
	}
	report(b, "told", told)
	report(b, "out-of-reach", missed)
	e.fail(b, servers)
	http.DefaultClient.CloseIdleConnections()
}

// fail kills servers, and measures for how long nothing can be agreed on by those that are left.
func (e *etcd) fail(b *testing.B, servers int) {
	var without, back []time.Duration
	const patience = 10 * time.Second
	for range b.N {
		for victim := range servers {
			e.kill(victim)
			other := (victim + 1) % servers
			began := time.Now()
			tick := time.NewTicker(5 * time.Millisecond)
			for e.put(other, "use", "again", "") != nil && time.Since(began) < patience {
				<-tick.C
			}
			tick.Stop()
			without = append(without, time.Since(began))
			began = time.Now()
			e.start(victim)
			eventually(b, "it serves again", func() bool { return e.put(victim, "use", "back", "") == nil })
			back = append(back, time.Since(began))
		}
	}
	report(b, "no-writes-one-killed", without)
	report(b, "back", back)
}
