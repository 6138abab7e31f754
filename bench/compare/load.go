package compare

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"smtplb/bench/result"
	"smtplb/bench/sink"
	"smtplb/bench/source"
)

// relays are the sinks behind a balancer.
type relays struct {
	sink *sink.Sink
	list []relay
}

// relayNet holds the addresses of relays, each an IP of its own.
const relayNet = "127.0.67.%d:0"

// plainRelays are two alike, as most measures have them.
func plainRelays() []relay {
	return []relay{{Name: "relay-a", Weight: 1}, {Name: "relay-b", Weight: 1}}
}

// listen starts sinks on the load's CPUs, and fills in their addresses.
func listen(list []relay) (*relays, error) { return listenOn(runtime.GOMAXPROCS(0), list) }

// listenOn is listen with so many threads, or one for each relay.
func listenOn(threads int, list []relay) (*relays, error) {
	cfg := sink.Config{Loops: threads}
	for i, r := range list {
		cfg.Relays = append(cfg.Relays, sink.Relay{Name: r.Name, Address: fmt.Sprintf(relayNet, 1+i)})
	}
	s, err := sink.Start(cfg)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Address = s.Address(list[i].Name)
	}
	return &relays{sink: s, list: list}, nil
}

// close ends all sessions that are left.
func (r *relays) close() { _ = r.sink.Close() } // never fails

// messages are how many each relay has taken so far.
func (r *relays) messages() []int64 {
	stats := r.sink.Stats()
	var counts []int64
	for _, one := range r.list {
		counts = append(counts, stats.Relay(one.Name).Messages)
	}
	return counts
}

// clients is what all clients of a peer have in common: messages of 4 KB, each
// command after the reply to the last one.
func clients(i *instance, number int) source.Config {
	cfg := source.Config{
		Duration:       sampleLimit,
		Timeout:        clientPatience,
		ConnectTimeout: clientPatience,
		HELO:           "client.example",
		Run:            rand.Uint64(),
	}
	for _, target := range i.targets(number) {
		cfg.Targets = append(cfg.Targets, target.String())
	}
	return cfg
}

const (
	clientPatience = 30 * time.Second // for each reply
	sampleLimit    = time.Minute      // for what should take seconds
	crowd          = 20               // connections at one time: those of one Exchange server
)

// send runs the source. Without one good session there is nothing to measure.
func send(ctx context.Context, cfg source.Config) (*result.Run, error) {
	run, err := source.Run(ctx, cfg)
	switch {
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case run.Sessions.OK == 0:
		return nil, fmt.Errorf("none of %d sessions went well: %w", run.Sessions.Started, worst(run))
	}
	return run, nil
}

// worst is the most frequent failure of a run.
func worst(run *result.Run) error {
	if len(run.Failures) == 0 {
		return errors.New("no failure was counted")
	}
	f := run.Failures[0]
	return fmt.Errorf("%d times %s at %s: %q", f.Count, f.Class, f.Stage, f.Reply)
}

// failures is a note where sessions failed that should not have.
func (l *lab) failures(name string, v variant, run *result.Run) {
	if failed := run.Sessions.Failed; failed > 0 {
		l.note("%s: %s: %d of %d sessions failed (%v)", name, v.key, failed, run.Sessions.Started, worst(run))
	}
	if run.Sessions.Dropped > 0 {
		l.note("%s: %s was overrun: %d sessions were not even begun, with so many waiting", name, v.key, run.Sessions.Dropped)
	}
}

// stage is the latency of a step of a run's sessions.
func latencyOf(run *result.Run, name string) (result.Latency, error) {
	for _, s := range run.Stages {
		if s.Name == name {
			return s.Latency, nil
		}
	}
	return result.Latency{}, fmt.Errorf("the source has no latency of %q", name)
}
