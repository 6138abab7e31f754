package chaos

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// opened are the descriptors of a process, by what they are.
type opened map[string]int

func (o opened) all() (n int) {
	for _, count := range o {
		n += count
	}
	return n
}

// openOf counts them: "socket", "pipe", and each other one by its whole name.
func openOf(pid int) (opened, error) {
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(links) == 0 {
		return nil, fmt.Errorf("process %d has no descriptors: %w", pid, err)
	}
	counts := opened{}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue // closed by now
		}
		what, _, isKind := strings.Cut(target, ":[")
		counts[choose(isKind, what, target)]++
	}
	return counts, nil
}

// usage is what a process has.
type usage struct {
	at         time.Time
	pid        int
	open       opened
	resident   int // octets
	heap       int // octets in use, those that a collection would free as well
	goroutines int
	collected  int // collections so far
	sessions   int
}

func (u usage) String() string {
	return fmt.Sprintf("process %d: %d KB resident, %d KB of heap, %d descriptors (%d sockets), %d goroutines, %d sessions",
		u.pid, u.resident>>10, u.heap>>10, u.open.all(), u.open["socket"], u.goroutines, u.sessions)
}

// usage asks /proc and /metrics.
func (b *balancer) usage() (u usage, err error) {
	u = usage{at: time.Now(), pid: b.pid()}
	if u.resident, err = resident(u.pid); err != nil {
		return u, err
	}
	answer, err := b.http.Get(adminURL + "/metrics")
	if err != nil {
		return u, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return u, fmt.Errorf("/metrics: %s", answer.Status)
	}
	wanted := map[string]*int{
		"go_memstats_heap_alloc_bytes": &u.heap, "go_goroutines": &u.goroutines,
		"go_gc_duration_seconds_count": &u.collected, "smtplb_sessions_open": &u.sessions,
	}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if into := wanted[name]; into != nil {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return u, fmt.Errorf("/metrics: %s: %w", lines.Text(), err)
			}
			*into = int(n)
			delete(wanted, name)
		}
	}
	if len(wanted) > 0 {
		return u, fmt.Errorf("/metrics: these are missing: %v", slices.Collect(maps.Keys(wanted)))
	}
	u.open, err = openOf(u.pid)
	return u, err
}

// idle waits until no session is left, then until a few collections have been
// made, and returns the least of everything that was seen meanwhile: a check may be
// under way at any time, and what is garbage is none of the program's.
func (b *balancer) idle() (least usage, err error) {
	const most = 150 * time.Second // keepalive takes two minutes to find that a client has vanished
	end := time.Now().Add(most)
	for {
		u, err := b.usage()
		if err != nil {
			return u, err
		}
		if u.sessions == 0 {
			least = u
			break
		}
		if time.Now().After(end) {
			return u, fmt.Errorf("%d sessions are left %v after the last client", u.sessions, most)
		}
		time.Sleep(50 * time.Millisecond)
	}
	first := least.collected
	for n := 0; (n < 20 || least.collected < first+3) && n < 3000; n++ {
		u, err := b.usage()
		if err != nil {
			return u, err
		}
		for _, what := range kindsOf(least.open, u.open) {
			least.open[what] = min(least.open[what], u.open[what])
		}
		least.heap, least.goroutines = min(least.heap, u.heap), min(least.goroutines, u.goroutines)
		least.resident, least.collected = u.resident, u.collected
		time.Sleep(20 * time.Millisecond)
	}
	return least, nil
}

func kindsOf(a, b opened) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b))))))
}

// How much more there may be at the end. What the program keeps for the next time has
// bounds: two event loops, with 16 buffers of 64 KB and 8 pipes each, and the events
// and the seconds that the dashboard shows.
const (
	heapSlack = 2*16*64<<10 + 4<<20
	pipesKept = 2 * 2 * 8 // descriptors
	fewChecks = 5         // that may be under way all the time, one for each relay
)

// grown compares the program at the end with the beginning.
func grown(before, after usage) (problems []string) {
	for _, what := range kindsOf(before.open, after.open) {
		most := before.open[what]
		if what == "pipe" {
			most += pipesKept
		}
		if n := after.open[what]; n > most {
			problems = append(problems, fmt.Sprintf("descriptors leaked: %d of %s without a session, %d at the beginning", n, what, before.open[what]))
		}
	}
	if after.goroutines > before.goroutines+fewChecks {
		problems = append(problems, fmt.Sprintf("goroutines leaked: %d without a session, %d at the beginning", after.goroutines, before.goroutines))
	}
	if after.heap > before.heap+heapSlack {
		problems = append(problems, fmt.Sprintf("memory grows: %d KB of heap without a session, %d KB at the beginning", after.heap>>10, before.heap>>10))
	}
	return problems
}

// strays looks at each process under load for sockets that belong to no session: in
// the last of the times at which it was looked at, the least of them.
func strays(before usage, samples []usage) (problems []string) {
	const last = 6
	of := map[int][]int{}
	for _, u := range samples {
		of[u.pid] = append(of[u.pid], u.open["socket"]-2*u.sessions)
	}
	for _, pid := range slices.Sorted(maps.Keys(of)) {
		all := of[pid]
		if len(all) < 2*last {
			continue
		}
		if n := slices.Min(all[len(all)-last:]); n > before.open["socket"]+fewChecks {
			problems = append(problems, fmt.Sprintf("descriptors leaked: process %d has %d sockets more than two for each session, under load", pid, n))
		}
	}
	return problems
}

// climbs looks at the last process under load: its memory in the last quarter of its
// life beside the second, as the middle of what is resident, and as the least heap.
func climbs(samples []usage) (from, to usage, problems []string) {
	if len(samples) == 0 {
		return from, to, nil
	}
	last := samples[len(samples)-1].pid
	samples = slices.DeleteFunc(slices.Clone(samples), func(u usage) bool { return u.pid != last })
	quarter := len(samples) / 4
	if quarter == 0 {
		return from, to, nil
	}
	from, to = typical(samples[quarter:2*quarter]), typical(samples[3*quarter:])
	for _, one := range []struct {
		what     string
		from, to int
	}{{"resident", from.resident, to.resident}, {"of heap", from.heap, to.heap}} {
		// Under the race detector both have much that is none of the program's, and a
		// process of less than a minute has not come to its size.
		if !*raceFlag && quarter >= 15 && one.to > one.from+one.from/4+4<<20 {
			problems = append(problems, fmt.Sprintf("memory grows: %d KB %s in the last quarter of the last process's life, %d KB in the second",
				one.to>>10, one.what, one.from>>10))
		}
	}
	return from, to, problems
}

func typical(samples []usage) usage {
	u := samples[0]
	var all []int
	for _, one := range samples {
		all = append(all, one.resident)
		u.heap = min(u.heap, one.heap)
	}
	slices.Sort(all)
	u.resident = all[len(all)/2]
	return u
}
