package sink

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"smtplb/bench/mail"
)

// Sink is a number of relays that take mail and throw it away. Make one with
// [Start]. Its methods are safe for concurrent use.
type Sink struct {
	*shared
	relays    []*relay
	addresses []netip.AddrPort // of the relays
	configs   []Relay
	seed      uint64
	started   time.Time
	version   string
	tls       *tls.Config
	loops     []*loop
	streams   streams
	running   sync.WaitGroup

	mu     sync.Mutex // held while the plan changes; guards closed
	closed bool
}

// Start has all relays listen, or none: then the error names every relay that
// cannot, its address and the cause.
func Start(cfg Config) (*Sink, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	now := cfg.Now
	if now == nil {
		now = time.Now
	}
	s := &Sink{
		shared: newShared(now, cfg.TLS != nil), configs: cfg.Relays, seed: cfg.Seed, tls: cfg.TLS,
		started: time.Now(), version: cfg.Version,
	}
	listeners, err := s.listenAll()
	if err == nil {
		err = s.spread(listeners, cfg.Loops)
	}
	if err != nil {
		for _, ln := range listeners {
			ln.close()
		}
		for _, l := range s.loops {
			_ = l.poller.Close()
		}
		return nil, err
	}
	s.plan.Store(newPlan(cfg.Faults, cfg.Relays, cfg.Seed, now()))
	for _, l := range s.loops {
		l.tend()
		s.running.Go(l.run)
	}
	return s, nil
}

// listenAll returns the listeners that it could open even with an error.
func (s *Sink) listenAll() (listeners []*listener, err error) {
	for i, config := range s.configs {
		r := newRelay(s.shared, config, i)
		ln, problem := listen(r)
		if problem != nil {
			err = errors.Join(err, problem)
			continue
		}
		listeners = append(listeners, ln)
		s.relays = append(s.relays, r)
		s.addresses = append(s.addresses, ln.address)
	}
	return listeners, err
}

// spread gives each loop its share of the relays.
func (s *Sink) spread(listeners []*listener, loops int) error {
	for range max(1, min(loops, len(listeners))) {
		l, err := newLoop(s)
		if err != nil {
			return fmt.Errorf("event loop: %w", err)
		}
		s.loops = append(s.loops, l)
	}
	for i, ln := range listeners {
		if err := s.loops[i%len(s.loops)].add(ln); err != nil {
			return fmt.Errorf("relay %s: %w", ln.relay.Name, err)
		}
	}
	return nil
}

// Address is where a relay listens; the zero value for an unknown name.
func (s *Sink) Address(name string) netip.AddrPort {
	for i, r := range s.relays {
		if r.Name == name {
			return s.addresses[i]
		}
	}
	return netip.AddrPort{}
}

// SetFaults puts other faults in place of those that are in force, and starts
// the schedule anew. When it returns, connections meet the new ones. Delays that
// have begun, and silences, go on. It panics if the faults are wrong: those of
// ParseFault and ReadScript are not.
func (s *Sink) SetFaults(faults []Fault) {
	if err := errors.Join(checkFaults(faults, s.configs)...); err != nil {
		panic("sink: SetFaults: " + err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.plan.Store(newPlan(faults, s.configs, s.seed, s.now()))
	for _, l := range s.loops {
		l.wait(l.recheckAll)
	}
}

// Receipts is what all relays have taken.
func (s *Sink) Receipts() *mail.Receipts { return &s.receipts }

// Stats is what the relays have counted until now.
func (s *Sink) Stats() Stats {
	stats := Stats{Relays: make([]RelayStats, len(s.relays))}
	for i, r := range s.relays {
		stats.Relays[i] = r.counts.stats()
		stats.Relays[i].Name, stats.Relays[i].Address = r.Name, s.addresses[i]
	}
	return stats
}

// ResetStats begins to count anew. Receipts stay: see [mail.Receipts.Reset].
func (s *Sink) ResetStats() {
	for _, r := range s.relays {
		r.counts.reset()
	}
}

// Close stops listening, ends all sessions, and returns when nothing of the sink
// is left but its numbers. Messages that are on their way are not kept. It never
// fails; a second call does nothing.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, l := range s.loops {
		l.post(func() { l.stopped = true })
	}
	s.running.Wait()
	s.streams.close()
	for _, l := range s.loops {
		_ = l.poller.Close()
	}
	return nil
}
