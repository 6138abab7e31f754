package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"
	"time"
)

// Bounds of who may watch. A watcher holds a connection, of maxConnections.
const (
	maxWatchers   = 20
	watcherQueue  = 8 // frames that one may be behind
	watchInterval = time.Second
)

var (
	errManyWatch = errors.New("as many watch already as may")
	errFeedEnded = errors.New("the server stops")
)

// feed tells all watchers of the state: one snapshot a second is made for all
// of them, none while nobody watches. Beside that it keeps the history. Set the
// functions before its use; the methods are safe for concurrent use.
type feed struct {
	state   func() *status
	pools   func() []poolStatus
	medians func() map[backendKey]float64
	now     func() time.Time

	closing chan struct{}  // closed at the end
	running sync.WaitGroup // goroutines

	mu       sync.Mutex
	watchers map[*watcher]struct{}
	ticking  bool    // there is a goroutine that makes snapshots
	last     *status // what watchers know, while ticking
	history  history
	closed   bool
}

// watcher is one who is told. frames is closed when there will be no more: it
// was too slow, or the feed has ended.
type watcher struct {
	frames chan []byte
	cut    func() // breaks off a write that hangs
}

func newFeed(s *Server) *feed {
	return &feed{
		state: s.status, pools: s.poolStatuses, medians: s.observations.medians, now: s.time,
		closing: make(chan struct{}), watchers: map[*watcher]struct{}{},
	}
}

// keepHistory adds a step to the history every now and then, until close.
func (f *feed) keepHistory() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.running.Go(func() {
		f.step() // what was before counts for nothing
		f.every(historyStep, func() bool { f.step(); return true })
	})
}

// every calls do until it returns false or the feed is closed.
func (f *feed) every(interval time.Duration, do func() bool) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if !do() {
				return
			}
		case <-f.closing:
			return
		}
	}
}

// step adds one to the history, and tells of it.
func (f *feed) step() {
	pools := f.pools()
	var medians map[backendKey]float64
	if f.watched() {
		medians = f.medians()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.history.add(f.now(), pools)
	if len(f.watchers) > 0 {
		f.tell(frame("step", f.history.report(1, pools, medians)))
	}
}

func (f *feed) watched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watchers) > 0
}

// tick tells of the state; false ends it, as nobody watches any more.
func (f *feed) tick() bool {
	if !f.watched() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ticking = len(f.watchers) > 0 // one may have come this moment
		return f.ticking
	}
	st := f.state()
	f.mu.Lock()
	defer f.mu.Unlock()
	if sameShape(f.last, st) {
		f.tell(frame("change", changes(f.last, st)))
	} else {
		f.tell(frame("state", st))
	}
	f.last = st
	return true
}

// tell gives a frame to all. Who has not taken the frames before is dropped.
func (f *feed) tell(frame []byte) {
	for w := range f.watchers {
		select {
		case w.frames <- frame:
		default:
			f.drop(w)
		}
	}
}

// drop ends a watcher, though it be stuck in a write.
func (f *feed) drop(w *watcher) {
	delete(f.watchers, w)
	close(w.frames)
	w.cut()
}

// join makes a watcher, whose first frames are the history and the whole state.
func (f *feed) join(cut func()) (*watcher, error) {
	medians := f.medians()
	st := f.state()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, errFeedEnded
	case len(f.watchers) >= maxWatchers:
		return nil, errManyWatch
	}
	if !f.ticking {
		f.ticking, f.last = true, st
		f.running.Go(func() { f.every(watchInterval, f.tick) })
	}
	w := &watcher{frames: make(chan []byte, watcherQueue), cut: cut}
	w.frames <- append(frame("history", f.history.report(historySteps, f.last.Pools, medians)), frame("state", f.last)...)
	f.watchers[w] = struct{}{}
	return w, nil
}

// leave takes out a watcher that goes by itself.
func (f *feed) leave(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, w)
}

// gone reports whether a watcher was ended.
func (f *feed) gone(w *watcher) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, there := f.watchers[w]
	return !there
}

// close ends everything that runs, and all watchers.
func (f *feed) close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.closing)
		for w := range f.watchers {
			f.drop(w)
		}
	}
	f.mu.Unlock()
	f.running.Wait()
}

// frame writes an event as server-sent events have it (HTML, 9.2.5). What cannot be
// written as JSON is not among what is sent.
func frame(name string, data any) []byte {
	var b bytes.Buffer
	b.WriteString("event: " + name + "\ndata: ")
	_ = json.NewEncoder(&b).Encode(data) // ends with a newline, and has no other
	b.WriteString("\n")
	return b.Bytes()
}
