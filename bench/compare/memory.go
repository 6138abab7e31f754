package compare

import (
	"context"
	"fmt"

	"smtplb/bench/result"
	"smtplb/bench/source"
)

func (l *lab) memorySeconds() float64 {
	return l.forProxies(min(memoryRounds, l.options.Rounds), memorySample)
}

const (
	memorySample = 3 // seconds, about
	memoryRounds = 2 // at most: the numbers hardly differ
)

// runMemory has a crowd of clients hold their sessions, then a larger one, and
// looks at what the process has grown by.
func runMemory(ctx context.Context, l *lab) error {
	relays, err := listen(plainRelays())
	if err != nil {
		return err
	}
	defer relays.close()
	few, many := l.amounts.held[0], l.amounts.held[1]
	s := newSamples(min(memoryRounds, l.options.Rounds))
	l.rounds(ctx, "memory", s.rounds, l.quicker(memorySample), l.proxies(relays.list), func(ctx context.Context, v variant, i *instance, round int) error {
		many, err := bearable(v.peer, few, many)
		if err != nil {
			return err
		}
		before, first, err := hold(ctx, i, few)
		if err != nil {
			return err
		}
		defer first.Close()
		after, second, err := hold(ctx, i, many-few)
		if err != nil {
			return err
		}
		defer second.Close()
		s.set(v.key, round, float64(after-before)/float64(many-few))
		return nil
	})
	text := fmt.Sprintf("at most %d bytes (median of the rounds)", barMemory)
	l.measure(result.Measure{
		ID: "memory_idle", Title: "Memory per idle session", Unit: "bytes", Log: true,
		How: fmt.Sprintf("What the proportional set size of the process and its children grew by from %d to %d sessions that wait after the greeting and say nothing, divided by their number. iocopy holds fewer where descriptors are short: it takes six for each. Sockets' memory is the kernel's and not counted.",
			few, many),
		Cells: s.cells(l.peers, 1),
		Bar:   judge(text, s.median(smtplb), func(got float64) bool { return got <= barMemory }),
	})
	return nil
}

// bearable is how many sessions a peer holds: as many as the others, or as its
// descriptors allow.
func bearable(p *peer, few, many int) (int, error) {
	if p.open == 0 {
		return many, nil
	}
	most, err := mostSessions(float64(p.open))
	if err == nil && most <= few {
		err = fmt.Errorf("the limit of open files leaves room for %d sessions: raise it (ulimit -n)", max(most, 0))
	}
	return min(many, most), err
}

// hold opens n more sessions and returns the peer's memory with them.
func hold(ctx context.Context, i *instance, n int) (int64, *source.Held, error) {
	held, err := source.Hold(ctx, clients(i, 0), n)
	if err != nil {
		return 0, nil, err
	}
	memory, err := i.process.Memory()
	if err != nil {
		held.Close()
		return 0, nil, err
	}
	return memory, held, nil
}
