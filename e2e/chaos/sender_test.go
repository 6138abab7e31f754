package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"smtplb/internal/smtptest"
)

// outcome is what a client met, in the words of the table.
type outcome int

const (
	good       outcome = iota
	noConnect          // the connection was not made in time
	refused            // it was refused
	gotten421          // a greeting other than 220: the balancer's own 421
	gotten4xx          // a reply within the session that refuses
	cutOff             // the connection broke
	timedOut           // no reply in time
	cutItself          // the client was told to reset the connection
	brokenSMTP         // something that is no reply
)

func (o outcome) String() string {
	return [...]string{"good", "not connected", "refused", "greeted 421", "451", "cut", "timed out", "its own reset", "no SMTP"}[o]
}

// visit is one session as its client saw it.
type visit struct {
	local      string // the client's address
	began, end time.Time
	greeting   time.Duration // until it was whole; 0: there was none
	outcome    outcome
	text       string // of what went wrong
	accepted   int
}

// try is one attempt to send a message.
type try struct {
	visit    *visit
	end      time.Time
	accepted bool
	unsure   bool // the connection broke between the message's end and its reply
}

// message is one identity.
type message struct {
	sum   string
	tries []try
}

// crowdOfSenders are clients that send as mail servers do: sessions of a few messages,
// and what was not accepted again, until it is.
type crowdOfSenders struct {
	network string // the file of their namespace
	seed    uint64
	cuts    atomic.Bool // clients reset their sessions now and then
	stop    context.Context

	mu       sync.Mutex // guards both
	visits   []*visit
	messages map[string]*message
	running  sync.WaitGroup
}

// clientPatience is how long a client waits for anything: longer than any fault.
const clientPatience = 30 * time.Second

// start has so many clients send until stop ends; each finishes the message that it is
// at.
func (c *crowdOfSenders) start(stop context.Context, n int, round string) {
	c.stop = stop
	for i := range n {
		s := &sender{crowd: c, name: fmt.Sprintf("%s%d", round, i), random: rand.New(rand.NewPCG(c.seed, uint64(1000+i)))}
		c.running.Go(s.run)
	}
}

// sender is one client.
type sender struct {
	crowd  *crowdOfSenders
	name   string
	random *rand.Rand
	sent   int
	left   *smtptest.Outgoing // not accepted yet; nil: none
}

func (s *sender) run() {
	for s.goesOn() {
		v := s.session(1 + s.random.IntN(20))
		if v.outcome != good {
			s.pause(100, 400)
		}
		s.pause(0, 100)
	}
}

// goesOn: a message that was begun is sent until it is accepted, but not for ever.
func (s *sender) goesOn() bool {
	if s.crowd.stop.Err() == nil {
		return true
	}
	end, ok := s.crowd.stop.Deadline()
	return s.left != nil && (!ok || time.Since(end) < 2*clientPatience)
}

func (s *sender) pause(least, most int) {
	time.Sleep(time.Duration(least+s.random.IntN(most-least)) * time.Millisecond)
}

// next is the message to send: the one that is left, or a new one.
func (s *sender) next() smtptest.Outgoing {
	if s.left != nil {
		return *s.left
	}
	s.sent++
	size := 500 + s.random.IntN(20_000)
	if s.random.IntN(20) == 0 { // what is spliced
		size = 200_000 + s.random.IntN(800_000)
	}
	m := smtptest.Outgoing{ID: fmt.Sprintf("%s-%d", s.name, s.sent), Chunked: s.random.IntN(4) == 0}
	m.Body = smtptest.Body(m.ID, size)
	sum := sha256.Sum256(m.Body)
	s.crowd.mu.Lock()
	s.crowd.messages[m.ID] = &message{sum: hex.EncodeToString(sum[:])}
	s.crowd.mu.Unlock()
	s.left = &m
	return m
}

// session sends so many messages, and takes note of what it met.
func (s *sender) session(messages int) *visit {
	v := &visit{began: time.Now()}
	var err error
	client, dialErr := smtptest.Inside(s.crowd.network, func() (*smtptest.Client, error) {
		return smtptest.DialFrom(netip.MustParseAddr(clientAddress), balancerAddress, clientPatience)
	})
	var itself atomic.Bool
	if err = dialErr; err == nil {
		v.local = client.Conn().LocalAddr().String()
		if _, err = client.Greeting(); err == nil {
			v.greeting = time.Since(v.began)
			err = s.talk(client, v, messages, &itself)
		}
		client.Close()
	}
	v.end = time.Now()
	v.outcome, v.text = classify(err, dialErr != nil, itself.Load()), fmt.Sprint(err)
	s.crowd.mu.Lock()
	s.crowd.visits = append(s.crowd.visits, v)
	s.crowd.mu.Unlock()
	return v
}

func (s *sender) talk(client *smtptest.Client, v *visit, messages int, itself *atomic.Bool) error {
	for range messages {
		m := s.next()
		stop := s.perhapsReset(client, itself)
		err := client.Send(m)
		stop()
		s.crowd.mu.Lock()
		known := s.crowd.messages[m.ID]
		known.tries = append(known.tries, try{v, time.Now(), err == nil, smtptest.Unsure(err)})
		s.crowd.mu.Unlock()
		if err != nil {
			return err
		}
		v.accepted++
		s.left = nil
		if s.crowd.stop.Err() != nil {
			break
		}
		s.pause(20, 120)
	}
	return client.Quit()
}

// perhapsReset has one message of four meet a reset by its client, while clients are
// told to. What it returns calls that off.
func (s *sender) perhapsReset(client *smtptest.Client, itself *atomic.Bool) (stop func() bool) {
	if !s.crowd.cuts.Load() || s.random.IntN(4) != 0 {
		return func() bool { return false }
	}
	return time.AfterFunc(time.Duration(s.random.IntN(60))*time.Millisecond, func() {
		itself.Store(true)
		_ = client.Conn().SetLinger(0) // it may be closed already
		client.Close()
	}).Stop
}

// classify names what a client met.
func classify(err error, connecting, itself bool) outcome {
	var reply *smtptest.ReplyError
	var network net.Error
	switch {
	case err == nil:
		return good
	case itself:
		return cutItself
	case errors.As(err, &reply) && reply.Command == "greeting":
		return gotten421
	case errors.As(err, &reply):
		return gotten4xx
	case connecting && errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case connecting && errors.As(err, &network) && network.Timeout(), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return noConnect
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, os.ErrDeadlineExceeded):
		return timedOut
	case strings.Contains(err.Error(), "not an SMTP reply"), strings.Contains(err.Error(), "changes its code"), strings.Contains(err.Error(), "more bytes came"):
		return brokenSMTP
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return cutOff
	}
	return brokenSMTP
}
