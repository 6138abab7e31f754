package main

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// logWriter writes lines a little later, from a goroutine of its own: an event
// loop that logs makes no system call, and does not wait for one either, though
// whoever reads the log should stand still for a while. No line is dropped, and
// none is cut in two by a line of another process that writes to the same file.
type logWriter struct {
	to io.Writer

	mu      sync.Mutex // guards what is below
	lines   []byte     // taken in
	room    *sync.Cond // there is some again
	stopped bool

	writing sync.Mutex // held while lines go out, in their order
	spare   []byte     // what was taken in before and has gone out; guarded by writing

	some, full chan struct{} // there is a line; there are many
	stop, done chan struct{}
}

const (
	logDelay = 100 * time.Millisecond // a line waits at most
	logMany  = 64 << 10               // bytes that are written without delay
	logChunk = 16 << 10               // bytes of one write, so that it does not keep the CPU from a loop
	logMost  = 8 << 20                // bytes, some 15,000 sessions; with more, whoever logs waits
)

func newLogWriter(to io.Writer) *logWriter {
	w := &logWriter{
		to:   to,
		some: make(chan struct{}, 1), full: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	w.room = sync.NewCond(&w.mu)
	go w.run()
	return w
}

// Write takes lines in. It keeps nothing of p, and fails never: what cannot be
// written is nobody's to tell.
func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	for len(w.lines) > 0 && len(w.lines)+len(p) > logMost && !w.stopped {
		w.room.Wait()
	}
	before := len(w.lines)
	w.lines = append(w.lines, p...)
	after, stopped := len(w.lines), w.stopped
	w.mu.Unlock()
	switch {
	case stopped:
		w.pass()
	case before == 0:
		nudge(w.some)
	}
	if before < logMany && after >= logMany {
		nudge(w.full)
	}
	return len(p), nil
}

func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Sync has everything written that was taken in. It does not force a file to the
// disk: ten times a second would be too often.
func (w *logWriter) Sync() error {
	w.pass()
	return nil
}

// close writes what is left. Lines that come later are written at once.
func (w *logWriter) close() {
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return
	}
	w.stopped = true
	w.room.Broadcast()
	w.mu.Unlock()
	close(w.stop)
	<-w.done
	w.pass()
}

func (w *logWriter) run() {
	defer close(w.done)
	delay := time.NewTimer(logDelay)
	defer delay.Stop()
	for {
		select {
		case <-w.some:
		case <-w.stop:
			return
		}
		delay.Reset(logDelay)
		select {
		case <-delay.C:
		case <-w.full:
		case <-w.stop:
			return
		}
		w.pass()
	}
}

// pass writes what was taken in until now.
func (w *logWriter) pass() {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.mu.Lock()
	lines := w.lines
	w.lines = w.spare[:0]
	w.room.Broadcast()
	w.mu.Unlock()
	for rest := lines; len(rest) > 0; {
		n := chunk(rest)
		_, _ = w.to.Write(rest[:n]) // there is no other place to tell of it
		rest = rest[n:]
	}
	w.spare = lines
	if cap(lines) > 4*logMany { // of a burst
		w.spare = nil
	}
}

// chunk is how many bytes go out at once: whole lines, one at least.
func chunk(lines []byte) int {
	if len(lines) <= logChunk {
		return len(lines)
	}
	if i := bytes.LastIndexByte(lines[:logChunk], '\n'); i >= 0 {
		return i + 1
	}
	if i := bytes.IndexByte(lines, '\n'); i >= 0 {
		return i + 1
	}
	return len(lines)
}
