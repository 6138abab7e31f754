package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("proxy: server closed")

// Server accepts clients on its Listeners and takes each to a relay. Set the
// fields, then call Listen and Serve; change no field afterwards (Reload gives it
// other listeners). The methods
// are safe for concurrent use.
type Server struct {
	Listeners []Listener

	// Inherited are sockets that are open already, each with the Address of a
	// listener, which takes it instead of binding one. Listen makes them the
	// server's own; with an error it closes them.
	Inherited []Socket

	// Workers is the number of event loops; 0: one per CPU. With GOMAXPROCS at
	// two more than that, each loop keeps a thread and a P of Go's scheduler to
	// itself while there is traffic, and the others are for the rest of the
	// program; a session then costs about a third less, see epoll.WaitBusy.
	Workers int

	// Quiet is how long no byte must have moved before Shutdown lets go of a
	// session in the client's turn; 0: 5 s.
	Quiet time.Duration

	// OnSession, if set, is told of every session at its end, refused ones
	// too. It runs in the event loop: it must not block, and must copy what it
	// keeps of the Record and its Attempts.
	OnSession func(*Record)

	// OnError, if set, is told of what goes wrong outside sessions, such as
	// accepting that pauses for want of descriptors; at most once a second and
	// loop. It runs in the event loop and must not block.
	OnError func(error)

	// Spare is how many descriptors the rest of the program may need at one time,
	// beside those that are open when Listen returns: sessions leave so many.
	Spare int

	mu        sync.Mutex
	phase     phase
	started   bool        // by Start, and Serve has not been called
	listeners []*listener // in the order of the configuration
	ports     int32       // so far: the next one's index
	inherited []Socket    // that no listener has taken yet
	loops     []*loop
	running   sync.WaitGroup // loops
	accepting sync.WaitGroup // loops that may still accept
	done      chan struct{}

	base       time.Time // of all moments in sessions
	idBase     uint64
	nextID     atomic.Uint64
	fds        atomic.Int64 // descriptors that sessions hold or have reserved
	fdLimit    atomic.Int64
	fdMost     atomic.Int64 // what the process might open when fdLimit was made of it
	fdBeside   int64        // descriptors for other things than sessions, of then
	mayOpen    func() int64 // what the process may open now; nil: as the kernel says
	spareP     bool         // the loops can keep a P each, and leave some
	counts     counters
	complaints complaints
}

type phase uint8

const (
	phaseNew phase = iota
	phaseListening
	phaseServing
	phaseDraining
	phaseClosed
)

// counters are shared by the loops; each is written once or twice a session.
type counters struct {
	accepted, open, up, down atomic.Int64
	hedging, hedged          atomic.Int64
	ends                     [numEnds]atomic.Int64
	late                     lateness
}

// Stats are totals since Listen.
type Stats struct {
	Accepted           int64 // connections
	Open               int64 // sessions now, lingering ones included
	Hedging            int64 // sessions that ask two relays now
	Hedged             int64 // times that a second relay was asked beside a late one
	Descriptors        int64 // that sessions hold now
	DescriptorLimit    int64 // with so many, nobody is accepted
	BytesUp, BytesDown int64 // of ended sessions
	Ends               map[End]int64
	Late               Lateness // of the event loops
}

// Stats returns the server's counts.
func (s *Server) Stats() Stats {
	st := Stats{
		Accepted: s.counts.accepted.Load(), Open: s.counts.open.Load(), Descriptors: s.fds.Load(),
		DescriptorLimit: s.descriptorsMost(), Late: s.counts.late.read(),
		Hedging: s.counts.hedging.Load(), Hedged: s.counts.hedged.Load(),
		BytesUp: s.counts.up.Load(), BytesDown: s.counts.down.Load(), Ends: map[End]int64{},
	}
	for e := range numEnds {
		if n := s.counts.ends[e].Load(); n > 0 {
			st.Ends[e] = n
		}
	}
	return st
}

// Listen binds every listener, or none: the error names each that failed and
// why. Clients that connect from now on wait for Serve.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != phaseNew {
		return errors.New("proxy: Listen on a server that was started before")
	}
	s.inherited = slices.Clone(s.Inherited)
	next, err := s.open(s.Listeners)
	if err == nil {
		err = s.checkAllTaken()
	}
	if err != nil {
		closeUnlessIn(next, nil)
		closeSockets(s.inherited)
		s.inherited = nil
		return err
	}
	s.listeners = next
	s.base = time.Now()
	s.idBase = uint64(s.base.UnixNano())
	s.fdBeside = openDescriptors() + int64(s.Spare)
	s.measure()
	s.done = make(chan struct{})
	s.phase = phaseListening
	return nil
}

// closeListeners is called with mu held, when no loop accepts any more.
func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = unix.Close(l.fd)
	}
	s.listeners = nil
}

// Addresses are where the listeners listen, in their order, with the ports
// that the kernel chose; nil before Listen and after the listeners closed.
func (s *Server) Addresses() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	var addrs []netip.AddrPort
	for _, l := range s.listeners {
		addrs = append(addrs, localAddr(l.fd))
	}
	return addrs
}

// Serve runs the event loops, unless Start has. It returns ErrServerClosed after
// Shutdown or Close once the last session has ended, or what kept a loop from
// starting.
func (s *Server) Serve() error {
	s.mu.Lock()
	started := s.started
	s.started = false
	s.mu.Unlock()
	if !started {
		if err := s.start(); err != nil {
			return err
		}
	}
	s.running.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeListeners()
	s.phase = phaseClosed
	close(s.done)
	return ErrServerClosed
}

// Start begins what Serve does: when it returns clients are accepted. Serve is to
// be called then.
func (s *Server) Start() error {
	if err := s.start(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	return nil
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.phase {
	case phaseListening:
	case phaseClosed:
		return ErrServerClosed
	default:
		return errors.New("proxy: started without Listen, or twice")
	}
	workers := s.workers()
	s.spareP = runtime.GOMAXPROCS(0) >= workers+2
	for range workers {
		l, err := newLoop(s)
		if err != nil {
			for _, l := range s.loops {
				l.close()
			}
			s.loops = nil
			return fmt.Errorf("proxy: event loop: %w", err)
		}
		s.loops = append(s.loops, l)
	}
	s.phase = phaseServing
	for _, ln := range s.listeners {
		ln.loops.Store(int32(len(s.loops)))
	}
	s.accepting.Add(len(s.loops))
	for _, l := range s.loops {
		s.running.Go(l.run)
	}
	return nil
}

// workers is the number of event loops.
func (s *Server) workers() int {
	if s.Workers > 0 {
		return s.Workers
	}
	return runtime.NumCPU()
}

// Shutdown stops accepting, answers what waits in the listening queues with
// 421, and lets sessions finish. A session in the client's turn is let go once
// it was quiet for Quiet, or at its pool's Timeouts.Drain without that. One
// that waits for its relay's reply is not cut before the reply, or ten minutes
// of silence, by which its client has given up (RFC 5321, section 4.5.3.2.6).
//
// It returns when the last session has ended, or with ctx's error before that;
// the sessions then go on as they are, and Close ends them.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.stopEarly() {
		s.mu.Unlock()
		return nil
	}
	if s.phase == phaseServing {
		s.phase = phaseDraining
		s.drainLoops()
	}
	s.mu.Unlock()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drainLoops has the loops drain, with mu held.
func (s *Server) drainLoops() {
	for _, l := range s.loops {
		l.post((*loop).drain)
	}
	go s.closeWhenIdle()
}

// closeWhenIdle closes the listening sockets once no loop accepts from them.
func (s *Server) closeWhenIdle() {
	s.accepting.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeListeners()
}

// Close ends everything now: sessions that are being set up read 421, the
// others are cut, whoever's turn it is. It does not wait; Serve returns soon.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopEarly() {
		return nil
	}
	s.phase = phaseDraining // Reload would bind what no loop accepts from
	for _, l := range s.loops {
		l.post((*loop).stop)
	}
	return nil
}

// stopEarly handles, with mu held, a stop before Serve or after the end.
func (s *Server) stopEarly() bool {
	if s.phase == phaseNew || s.phase == phaseListening {
		s.closeListeners()
		s.phase = phaseClosed
		return true
	}
	return s.phase == phaseClosed
}
