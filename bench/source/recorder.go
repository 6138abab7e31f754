package source

import (
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"smtplb/bench/result"
)

// span is a part of a session that is measured.
type span int

const (
	spanConnect span = iota
	spanGreeting
	spanTLS
	spanCommand
	spanMessage
	spanSession
	spanSchedule
	spans // how many there are
)

// String is the stage's name in a report.
func (s span) String() string {
	return [spans]string{"connect", "greeting", "tls", "command", "message", "session", "schedule"}[s]
}

// counts is what a run counts.
type counts struct {
	started, greeted, encrypted, ok, failed, cut int64 // sessions
	accepted, refused, unsure, unsent            int64 // messages, each by the end of its last try
	bytes, failures                              int64
}

func (c *counts) add(other *counts) {
	c.started += other.started
	c.greeted += other.greeted
	c.encrypted += other.encrypted
	c.ok += other.ok
	c.failed += other.failed
	c.cut += other.cut
	c.accepted += other.accepted
	c.refused += other.refused
	c.unsure += other.unsure
	c.unsent += other.unsent
	c.bytes += other.bytes
	c.failures += other.failures
}

// open is how many sessions are under way.
func (c *counts) open() int64 { return c.started - c.ok - c.failed - c.cut }

// recorder takes the measurements of all sessions. Each session writes to one of
// a few shards, so that sessions seldom wait for each other's lock, and a
// thousand of them do not need a thousand histograms.
type recorder struct {
	shards []shard

	// Of the overseer alone:
	before              counts // at the end of the last second
	greetings, messages *hdrhistogram.Histogram
}

type shard struct {
	mu    sync.Mutex // guards all below
	total counts
	spans [spans]histogram
	// Of the current second:
	greetings, messages *hdrhistogram.Histogram
	end                 time.Time // of the last session so far
}

func newSecondHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(finest, longest, secondPrecision)
}

func newRecorder() *recorder {
	r := &recorder{
		shards:    make([]shard, 4*runtime.GOMAXPROCS(0)),
		greetings: newSecondHistogram(),
		messages:  newSecondHistogram(),
	}
	for i := range r.shards {
		r.shards[i].greetings, r.shards[i].messages = newSecondHistogram(), newSecondHistogram()
	}
	return r
}

// shard is the one for the i-th session that is open at once.
func (r *recorder) shard(i int) *shard { return &r.shards[i%len(r.shards)] }

// time notes how long something took.
func (s *shard) time(what span, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spans[what].add(took)
	switch what {
	case spanGreeting:
		record(s.greetings, took)
	case spanMessage:
		record(s.messages, took)
	}
}

// count changes the counters.
func (s *shard) count(change func(*counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.total)
}

// ended notes when a session was over.
func (s *shard) ended(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at.After(s.end) {
		s.end = at
	}
}

// second closes the current second, which ends at that time of the run; ok tells
// that there was anything in it. It is called by one goroutine.
func (r *recorder) second(at time.Duration) (second result.Second, ok bool) {
	var now counts
	r.greetings.Reset()
	r.messages.Reset()
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		now.add(&s.total)
		drain(r.greetings, s.greetings)
		drain(r.messages, s.messages)
		s.mu.Unlock()
	}
	p50, p99 := percentiles(r.greetings)
	m50, m99 := percentiles(r.messages)
	second = result.Second{
		AtS:         at.Seconds(),
		Sessions:    now.ok + now.failed + now.cut - r.before.ok - r.before.failed - r.before.cut,
		Messages:    now.accepted - r.before.accepted,
		Bytes:       now.bytes - r.before.bytes,
		Failures:    now.failures - r.before.failures,
		Open:        now.open(),
		GreetingP50: p50, GreetingP99: p99,
		MessageP50: m50, MessageP99: m99,
	}
	ok = now != r.before || r.greetings.TotalCount() > 0
	r.before = now
	return second, ok
}

// drain moves all of from into to.
func drain(to, from *hdrhistogram.Histogram) {
	if from.TotalCount() > 0 {
		to.Merge(from)
		from.Reset()
	}
}

// percentiles are milliseconds, 0 where there is nothing.
func percentiles(h *hdrhistogram.Histogram) (p50, p99 float64) {
	if h.TotalCount() == 0 {
		return 0, 0
	}
	at := h.ValueAtPercentilesSlice([]float64{50, 99})
	return milliseconds(time.Duration(at[0])), milliseconds(time.Duration(at[1]))
}

// totals adds everything up: counters, distributions, and when the last session
// was over.
func (r *recorder) totals() (sum counts, all [spans]histogram, end time.Time) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		sum.add(&s.total)
		for j := range all {
			all[j].merge(&s.spans[j])
		}
		if s.end.After(end) {
			end = s.end
		}
		s.mu.Unlock()
	}
	return sum, all, end
}
