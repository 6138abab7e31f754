package source

import (
	"net"
	"testing"
	"time"
)

// tape is a connection with a target that has said everything before: one reply
// for each Read, again and again.
type tape struct {
	net.Conn // nil: what is not below is not called
	replies  []string
	next     int
}

func (c *tape) Read(p []byte) (int, error) {
	n := copy(p, c.replies[c.next])
	c.next = (c.next + 1) % len(c.replies)
	return n, nil
}

func (c *tape) Write(p []byte) (int, error)       { return len(p), nil }
func (c *tape) SetDeadline(time.Time) error       { return nil }
func (c *tape) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// A source shares the machine with what it measures, and a collector that runs
// in between would be measured too.
func TestCommandsCostNoMemory(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*Config)
		replies []string
	}{
		"lock-step":  {func(*Config) {}, []string{good, good, goes, good}},
		"pipelining": {func(c *Config) { c.Pipelining = true }, []string{good + good + goes, good}},
		"bdat":       {func(c *Config) { c.BDAT, c.Pipelining = true, true }, []string{good + good, good}},
	} {
		cfg := Config{Targets: []string{"target:25"}, Concurrency: 1}
		test.change(&cfg)
		r := newRunner(cfg, []target{{name: "target:25"}})
		r.going, r.alive = t.Context(), t.Context()
		s := r.newSession()
		s.conn, s.offers = &tape{replies: test.replies}, offers{pipelining: true, chunking: true, size: true}
		var j job
		perMessage := testing.AllocsPerRun(1000, func() {
			j.seq++
			if _, got, f := s.transact(j); got != accepted {
				t.Fatalf("%s: %+v", name, f)
			}
		})
		// Composing a message takes two; the pool of buffers may be emptied meanwhile.
		if perMessage > 2.5 {
			t.Errorf("%s: %v allocations for a message", name, perMessage)
		}
	}
}
