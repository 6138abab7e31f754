package compare

import (
	"context"
	"fmt"
	"time"

	"smtplb/bench/result"
	"smtplb/bench/source"
)

const (
	exchangeMessages = 20 // SmtpMaxMessagesPerConnection
	bigMessage       = 20 << 20
	bigClients       = 2
	bigPerSession    = 5
)

// In so many bursts all have their turns in a round.
const (
	shortBursts = 10
	longBursts  = 5
	bigBursts   = 5
)

const accounting = "CPU time is the kernel's account of the process and its children, all threads, user and system " +
	"(the clock of clock_getcpuclockid(3), in nanoseconds)"

// About how many seconds a sample takes, to plan with.
const (
	shortSample = 1.5
	longSample  = 1.9
	bigSample   = 2.8
)

func (l *lab) shortSeconds() float64    { return l.forAll((*peer).carries, l.options.Rounds, shortSample) }
func (l *lab) longSeconds() float64     { return l.forAll((*peer).carries, l.options.Rounds, longSample) }
func (l *lab) gigabyteSeconds() float64 { return l.forProxies(l.bigRounds(), bigSample) }

// bigRounds are fewer: large messages take their time, and differ less.
func (l *lab) bigRounds() int { return (l.options.Rounds + 1) / 2 }

// forProxies is about how long so many rounds take, with so many seconds for
// each proxy.
func (l *lab) forProxies(rounds int, seconds float64) float64 {
	return l.forAll((*peer).proxies, rounds, seconds)
}

func (l *lab) forAll(want func(*peer) bool, rounds int, seconds float64) float64 {
	return float64(rounds*len(l.wanted(want))) * l.quicker(seconds)
}

// quicker is what a time comes to when there is a tenth to do; that and
// starting and stopping.
func (l *lab) quicker(seconds float64) float64 {
	if l.options.Quick {
		return 0.3 + seconds/10
	}
	return seconds
}

// cpuOf is what balancers use up while f runs.
func cpuOf(all []*instance, f func() error) (time.Duration, error) {
	before, err := cpuTotal(all)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := cpuTotal(all)
	return after - before, err
}

func cpuTotal(all []*instance) (total time.Duration, err error) {
	for _, i := range all {
		used, err := i.process.CPU()
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}

// cost is a measure of CPU time.
type cost struct {
	name    string
	rounds  int
	seconds float64 // about, for each sample
	all     func(relays []relay) []variant
	clients func(*source.Config)      // what they do in a round; Sessions of it in all
	bursts  int                       // of a round
	units   func(*result.Run) float64 // what the time is divided by
}

// cost measures, in the closed model, the CPU time of each variant for each
// unit of what it carries.
func (l *lab) cost(ctx context.Context, c cost) (*samples, error) {
	relays, err := listen(plainRelays())
	if err != nil {
		return nil, err
	}
	defer relays.close()
	s, bills := newSamples(c.rounds), map[string]*bill{}
	config := func(i *instance) source.Config {
		cfg := clients(i, 0)
		cfg.Concurrency = crowd
		return cfg
	}
	l.inTurns(ctx, turnwise{
		name: c.name, rounds: c.rounds, bursts: c.bursts, seconds: c.seconds, all: c.all(relays.list),
		warm: func(v variant, i *instance) error {
			bills[v.key] = &bill{}
			return l.warm(ctx, config(i))
		},
		burst: func(v variant, i *instance, round, burst int) error {
			cfg, b := config(i), bills[v.key]
			c.clients(&cfg)
			if cfg.Sessions = part(cfg.Sessions, c.bursts, burst); cfg.Sessions > 0 { // 0 would be no limit
				if err := l.charge(ctx, c, v, i, cfg, b); err != nil {
					return err
				}
			}
			if burst == c.bursts-1 && b.units > 0 {
				s.set(v.key, round, b.cpu.Seconds()/b.units)
			}
			return nil
		},
	})
	return s, nil
}

// bill is what a variant has used up in a round.
type bill struct {
	cpu   time.Duration
	units float64
}

// charge has clients use a variant, and adds what that took.
func (l *lab) charge(ctx context.Context, c cost, v variant, i *instance, cfg source.Config, to *bill) error {
	var run *result.Run
	used, err := cpuOf([]*instance{i}, func() (err error) {
		run, err = send(ctx, cfg)
		return err
	})
	if err != nil {
		return err
	}
	l.failures(c.name, v, run)
	to.cpu += used
	to.units += c.units(run)
	return nil
}

// part is the n-th of so many parts of a whole, which differ by one at most.
func part(whole int64, parts, n int) int64 {
	return whole*int64(n+1)/int64(parts) - whole*int64(n)/int64(parts)
}

// proxies are all peers with a process, alike.
func (l *lab) proxies(relays []relay) []variant {
	return l.variants(l.site(relays), (*peer).proxies)
}

// carriers are those and the floor.
func (l *lab) carriers(relays []relay) []variant {
	return l.variants(l.site(relays), (*peer).carries)
}

// warm sends a little, so that what happens once is over.
func (l *lab) warm(ctx context.Context, c source.Config) error {
	c.Sessions = l.amounts.warm
	_, err := send(ctx, c)
	return err
}

func sessionsOK(run *result.Run) float64 { return float64(run.Sessions.OK) }

func runShort(ctx context.Context, l *lab) error {
	s, err := l.cost(ctx, cost{
		name: "cpu_short", rounds: l.options.Rounds, seconds: l.quicker(shortSample), all: l.carriers,
		clients: func(c *source.Config) { c.Sessions = l.amounts.short },
		bursts:  shortBursts,
		units:   sessionsOK,
	})
	if err != nil {
		return err
	}
	bar, caveat := atMostOf(s, barSession, haproxy, nginx)
	l.measure(result.Measure{
		ID: "cpu_short", Title: "CPU per short session", Unit: "µs", Group: "CPU per session",
		How: fmt.Sprintf("Closed model, %d connections at one time, %d sessions a round in %d bursts, all in turn, one message of 4 KB in each, lock-step, one worker. %s.",
			crowd, l.amounts.short, shortBursts, accounting),
		Cells: s.cells(l.peers, 1e6), Bar: bar,
	}, caveat)
	return nil
}

func runLong(ctx context.Context, l *lab) error {
	s, err := l.cost(ctx, cost{
		name: "cpu_long", rounds: l.options.Rounds, seconds: l.quicker(longSample), all: l.carriers,
		clients: func(c *source.Config) { c.Sessions, c.MessagesPerSession = l.amounts.long, exchangeMessages },
		bursts:  longBursts,
		units:   sessionsOK,
	})
	if err != nil {
		return err
	}
	bar, caveat := atMostOf(s, barSession, haproxy, nginx)
	l.measure(result.Measure{
		ID: "cpu_long", Title: "CPU per session of 20 messages", Unit: "µs", Group: "CPU per session",
		How: fmt.Sprintf("As for short sessions, but %d sessions a round in %d bursts, with %d messages of 4 KB in each, as many as Exchange sends by default.",
			l.amounts.long, longBursts, exchangeMessages),
		Cells: s.cells(l.peers, 1e6), Bar: bar,
	}, caveat)
	return nil
}

func runGigabyte(ctx context.Context, l *lab) error {
	const gigabyte = 1e9
	s, err := l.cost(ctx, cost{
		name: "cpu_gb", rounds: l.bigRounds(), seconds: l.quicker(bigSample), all: l.proxies,
		clients: func(c *source.Config) {
			c.Concurrency, c.MessagesPerSession = bigClients, bigPerSession
			c.Size = source.FixedSize(bigMessage)
			c.Sessions = max(l.amounts.big/bigPerSession, bigClients)
		},
		bursts: bigBursts,
		units:  func(run *result.Run) float64 { return float64(run.Messages.Bytes) / gigabyte },
	})
	if err != nil {
		return err
	}
	bar, caveat := atMostOf(s, barGigabyte, haproxy)
	if bar != nil {
		bar.Text = fmt.Sprintf("at most %.2f of haproxy with splice-auto (%s)", barGigabyte, perRound)
	}
	l.measure(result.Measure{
		ID: "cpu_gb", Title: "CPU per GB in messages of 20 MB", Unit: "s/GB", Group: "CPU per GB",
		How: fmt.Sprintf("Closed model, %d connections at one time, %d messages of 20 MB (20 * 2^20 bytes) a round in %d bursts, %d in a session. HAProxy has splice-auto. A GB is 10^9 bytes of content.",
			bigClients, l.amounts.big, bigBursts, bigPerSession),
		Cells: s.cells(l.peers, 1), Bar: bar,
	}, caveat)
	return nil
}
