package compare

import (
	"context"
	"fmt"
	"math"
	"time"

	"smtplb/bench/result"
)

// shareRelays are weighted three to one: the first should get shareWanted
// percent.
func shareRelays() []relay {
	return []relay{{Name: "relay-a", Weight: 3}, {Name: "relay-b", Weight: 1}}
}

const shareWanted = 75.0

// shareConnections are the concurrencies at which shares are measured.
func shareConnections() []int { return []int{1, 2, 5, 20, 200} }

const shareSample = 1.7 // seconds, about

func (l *lab) sharesSeconds() float64 {
	return float64(len(shareConnections())*len(l.wanted((*peer).balances))) * l.quicker(shareSample)
}

func runShares(ctx context.Context, l *lab) error {
	relays, err := listen(shareRelays())
	if err != nil {
		return err
	}
	defer relays.close()
	m := result.Matrix{
		ID: "shares", Title: "Share of a relay with weight 3 beside one with weight 1", Case: "connections",
		How: fmt.Sprintf("Closed model, %d sessions with one message of 4 KB at each number of connections; the part of the messages that the first relay got, in percent. Right is %.0f. iocopy and direct do not know weights.",
			l.amounts.shares, shareWanted),
	}
	worst, measured := 0.0, 0
	for _, connections := range shareConnections() {
		row := result.Row{Case: fmt.Sprint(connections)}
		name := fmt.Sprintf("shares, %d connections", connections)
		for _, v := range l.variants(l.site(relays.list), (*peer).balances) {
			if ctx.Err() != nil {
				break
			}
			l.progress.next(time.Now(), l.quicker(shareSample), "%s: %s", name, v.key)
			var share float64
			err := l.one(ctx, v, func(i *instance) (err error) {
				share, err = l.share(ctx, v, i, relays, connections)
				return err
			})
			if err != nil {
				if ctx.Err() == nil {
					l.note("%s: %v", name, err)
				}
				continue
			}
			off := math.Abs(share - shareWanted)
			row.Cells = append(row.Cells, result.MatrixBox{
				Peer: v.key, Text: fmt.Sprintf("%.1f %%", share),
				Values: map[string]float64{"share": share, "off": off}, Good: off <= barShare,
			})
			if v.key == smtplb {
				worst, measured = max(worst, off), measured+1
			}
		}
		if len(row.Cells) > 0 {
			m.Rows = append(m.Rows, row)
		}
	}
	l.progress.end()
	if l.peer(smtplb) != nil && ctx.Err() == nil {
		m.Bar = shareBar(worst, measured)
	}
	if len(m.Rows) > 0 {
		l.out.Matrices = append(l.out.Matrices, m)
	}
	return nil
}

// shareBar judges what smtplb was off by at worst.
func shareBar(worst float64, measured int) *result.Bar {
	text := fmt.Sprintf("smtplb within %d percentage points of the weights at every number of connections", barShare)
	if measured < len(shareConnections()) {
		worst = math.NaN()
	}
	return judge(text, worst, func(got float64) bool { return got <= barShare })
}

// share is the percentage of the messages that went to the first relay. Health
// checks send none.
func (l *lab) share(ctx context.Context, v variant, i *instance, relays *relays, connections int) (float64, error) {
	cfg := clients(i, 0)
	cfg.Concurrency, cfg.Sessions = connections, l.amounts.shares
	before := relays.messages()
	run, err := send(ctx, cfg)
	if err != nil {
		return 0, err
	}
	l.failures("shares", v, run)
	after := relays.messages()
	first, all := after[0]-before[0], int64(0)
	for k := range after {
		all += after[k] - before[k]
	}
	if all == 0 {
		return 0, fmt.Errorf("no message arrived")
	}
	return 100 * float64(first) / float64(all), nil
}
