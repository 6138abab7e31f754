package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// run is one run of the test.
type run struct {
	seed    uint64
	length  time.Duration
	dir     string // for what is kept after a failure
	lab     *lab
	lb      *balancer
	relays  []*relay
	senders *crowdOfSenders
	events  *events
	inject  *injector
	samples []usage
}

// again is the command that repeats the run.
func (r *run) again() string {
	command := fmt.Sprintf("make chaos SEED=%d FOR=%v", r.seed, r.length)
	if *raceFlag {
		command += " RACE=1"
	}
	if s := *sendersFlag; s != 6 {
		command += fmt.Sprintf(" SENDERS=%d", s)
	}
	return command
}

// Whatever goes wrong around it, and whatever is done to it: no message that a client
// was told is accepted is lost, none is there twice or damaged, no session fails for
// which no fault is the reason, and at the end nothing is left behind.
func TestChaos(t *testing.T) {
	needs(t)
	r := newRun(t)
	defer r.keep(t)
	before, err := r.warm()
	if err != nil {
		t.Fatal(err)
	}
	r.events.add("without a session: %s", before)
	plan := newPlan(r.seed, r.length)
	began := time.Now()
	r.events.began = began
	r.load(plan)
	over := time.Now()
	after, err := r.lb.idle()
	if err != nil {
		t.Errorf("at the end: %v", err)
	} else {
		r.events.add("without a session: %s", after)
		for _, problem := range grown(before, after) {
			t.Error(problem)
		}
	}
	from, to, problems := climbs(r.samples)
	problems = append(problems, strays(before, r.samples)...)
	r.leftOver(t)
	problems = append(problems, r.lb.stop()...)
	for _, problem := range append(problems, r.inject.problems...) {
		t.Error(problem)
	}
	j := &judge{r.inject.windows, r.lb.sessions}
	d := j.verdict(r.senders, r.taken(t))
	for _, problem := range d.problems() {
		t.Error(problem)
	}
	t.Logf("%d faults in %v: %d messages accepted in %d sessions; %d at the relays, %d of them RFC 1047's second copies; "+
		"lost, duplicated, corrupted: %d, %d, %d", len(r.inject.windows), over.Sub(began).Round(time.Second),
		d.accepted, len(r.senders.visits), d.copies, d.forgiven, len(d.lost), len(d.duplicated), len(d.corrupted))
	t.Logf("without a session before: %s; after: %s; the last process under load: %d KB resident and %d KB of heap, then %d KB and %d KB",
		before, after, from.resident>>10, from.heap>>10, to.resident>>10, to.heap>>10)
	t.Logf("%s\n%s", r.again(), table(rowsOf(r.inject.windows, r.senders, d, began, over)))
}

// newRun says what is done, and starts everything.
func newRun(t *testing.T) *run {
	t.Helper()
	r := &run{seed: *seedFlag, length: *forFlag}
	for r.seed == 0 {
		r.seed = rand.Uint64N(1 << 32) // short enough to be typed
	}
	t.Logf("again: %s", r.again())
	var err error
	if r.dir, err = os.MkdirTemp("", "smtplb-chaos-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(r.dir) // what stays is a temporary directory
		}
	})
	log, err := os.Create(filepath.Join(r.dir, "events.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	r.events = &events{began: time.Now(), to: log}
	binary := program(t, r.dir)
	r.lab = newLab(t)
	for n := range relays() {
		relay, err := newRelay(r.lab, n, r.dir)
		if err != nil {
			t.Fatal(err)
		}
		r.relays = append(r.relays, relay)
	}
	if r.lb, err = startBalancer(r.lab, r.dir, binary); err != nil {
		t.Fatal(err)
	}
	r.senders = &crowdOfSenders{network: r.lab.file("clients"), seed: r.seed, messages: map[string]*message{}}
	r.inject = &injector{seed: r.seed, lab: r.lab, lb: r.lb, relays: r.relays, senders: r.senders, events: r.events}
	return r
}

// warm has a few seconds of mail pass while all is well, and returns what the program
// has without a session then.
func (r *run) warm() (usage, error) {
	stop, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	r.senders.start(stop, *sendersFlag, "w")
	r.senders.running.Wait()
	return r.lb.idle()
}

// load is the run itself: mail, and the faults of the plan.
func (r *run) load(plan []fault) {
	stop, cancel := context.WithTimeout(context.Background(), r.length)
	defer cancel()
	r.senders.start(stop, *sendersFlag, "m")
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		for stop.Err() == nil {
			// It cannot always answer: there are times without a descriptor.
			if u, err := r.lb.usage(); err == nil {
				r.samples = append(r.samples, u)
				r.events.add("under load: %s", u)
			}
			wait(stop, max(r.length/500, time.Second))
		}
	}()
	ended, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	go func() { // nothing to break any more, if it is gone
		select {
		case <-r.lb.exited:
			giveUp()
			cancel()
		case <-ended.Done():
		}
	}()
	r.inject.run(ended, plan)
	r.senders.running.Wait()
	<-sampled
}

// leftOver looks for processes that were replaced and have not ended, though their
// sessions have.
func (r *run) leftOver(t *testing.T) {
	t.Helper()
	end := time.Now().Add(patience)
	for len(r.lb.living()) > 1 {
		if time.Now().After(end) {
			t.Errorf("processes %v live on, want only %d", r.lb.living(), r.lb.pid())
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// taken ends the relays, and returns what they have taken, by their names.
func (r *run) taken(t *testing.T) map[string][]receipt {
	t.Helper()
	all := map[string][]receipt{}
	for _, relay := range r.relays {
		if err := relay.stop(); err != nil {
			t.Errorf("relay %s: %v", relay.name, err)
		}
		var err error
		if all[relay.name], err = relay.taken(); err != nil {
			t.Error(err)
		}
	}
	return all
}

// keep says, after a failure, how to repeat it and where everything is.
func (r *run) keep(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	t.Logf("to repeat it: %s", r.again())
	t.Logf("events, the log of smtplb and what relays took are kept in %s", r.dir)
	text, err := os.ReadFile(filepath.Join(r.dir, "events.log"))
	if err != nil {
		t.Log(err)
		return
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	t.Logf("the last events:\n%s", strings.Join(lines[max(0, len(lines)-60):], "\n"))
}
