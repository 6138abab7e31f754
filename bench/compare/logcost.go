package compare

import (
	"context"
	"fmt"

	"smtplb/bench/result"
	"smtplb/bench/source"
)

const (
	logOn  = "smtplb, log on"
	logOff = "smtplb, log off"
)

func (l *lab) logSeconds() float64 {
	return float64(2*l.options.Rounds) * l.quicker(shortSample)
}

func runLog(ctx context.Context, l *lab) error {
	p := l.peer(smtplb)
	if p == nil {
		return nil // that it is missing has been said
	}
	s, err := l.cost(ctx, cost{
		name: "log", rounds: l.options.Rounds, seconds: l.quicker(shortSample),
		all: func(relays []relay) []variant {
			on, cpus := l.site(relays), l.options.BalancerCPUs[:1]
			off := on
			off.Quiet = true
			return []variant{{logOn, p, on, cpus}, {logOff, p, off, cpus}}
		},
		clients: func(c *source.Config) { c.Sessions = l.amounts.short },
		bursts:  shortBursts,
		units:   sessionsOK,
	})
	if err != nil {
		return err
	}
	more := newSamples(s.rounds)
	for round := range s.rounds {
		if s.has(logOn) && s.has(logOff) {
			more.set(smtplb, round, (s.of[logOn][round]/s.of[logOff][round]-1)*100)
		}
	}
	l.measure(result.Measure{
		ID: "log", Title: "What the session log costs", Unit: "%",
		How: fmt.Sprintf("CPU of smtplb per short session with log.level info, a line for each session in a file, beyond that with log.level error: the two in turn, %d rounds of %d sessions in %d bursts. Medians %.1f and %.1f µs.",
			s.rounds, l.amounts.short, shortBursts, s.median(logOn)*1e6, s.median(logOff)*1e6),
		Cells: more.cells(l.peers, 1),
		Bar:   below(more, barLog, "%"),
	})
	return nil
}
