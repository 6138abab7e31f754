package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"smtplb/bench/mail"
	"smtplb/bench/result"
	"smtplb/bench/sink"
	"smtplb/bench/source"
)

// faultCase is a way in which one relay of two goes wrong.
type faultCase struct {
	name  string
	fault sink.Fault
}

// faultCases are named by the words for outcomes, where there are any.
func faultCases() []faultCase {
	greeting := func(a sink.Action) sink.Fault { return sink.Fault{Point: sink.PointGreeting, Action: a} }
	reply := func(text string) sink.Fault {
		return sink.Fault{Point: sink.PointGreeting, Action: sink.ActionReply, Reply: text}
	}
	return []faultCase{
		{"refused", sink.Fault{Point: sink.PointConnect, Action: sink.ActionRefuse}},
		{"closed at once", greeting(sink.ActionClose)},
		{"reset at once", greeting(sink.ActionReset)},
		{"greeting 421", reply("421 4.3.2 closing")},
		{"greeting 450", reply("450 4.3.2 busy")},
		{"greeting 554", reply("554 5.3.2 no service here")},
		{"not SMTP", greeting(sink.ActionNotSMTP)},
		{"silent", greeting(sink.ActionSilence)},
		{"half a greeting", greeting(sink.ActionHalf)},
		{"greeting on several lines", greeting(sink.ActionMultiLine)},
		{"greeting byte by byte", greeting(sink.ActionByteByByte)},
	}
}

const faultRate = 20 // sessions a second for each fault

func (l *lab) faultsSeconds() float64 {
	per := (l.amounts.healthy + l.amounts.ill + clientPatience).Seconds() + 2
	return per
}

// patients is one peer with all faults at once, each with a service and two
// relays of its own.
type patients struct {
	v      variant
	relays *relays
	cases  []faultCase
}

// admit sets a peer up. Whoever calls it must close the relays.
func (l *lab) admit(p *peer) (*patients, error) {
	cases := faultCases()
	var list []relay
	for k := range cases {
		list = append(list, relay{Name: illName(k), Weight: 1}, relay{Name: wellName(k), Weight: 1})
	}
	relays, err := listen(list)
	if err != nil {
		return nil, err
	}
	s := l.site(nil)
	s.Services = nil
	for k := range cases {
		s.Services = append(s.Services, service{Name: fmt.Sprintf("service-%d", k), Relays: relays.list[2*k : 2*k+2]})
	}
	return &patients{variant{p.name, p, s, l.options.BalancerCPUs[:1]}, relays, cases}, nil
}

func illName(k int) string  { return fmt.Sprintf("ill-%d", k) }
func wellName(k int) string { return fmt.Sprintf("well-%d", k) }

// infect has the first relay of each pair go wrong from now on.
func (p *patients) infect() {
	var faults []sink.Fault
	for k, c := range p.cases {
		f := c.fault
		f.Relay = illName(k)
		faults = append(faults, f)
	}
	p.relays.sink.SetFaults(faults)
}

// runFaults has every peer meet every fault at the same time: little of it
// takes CPU time, and nobody shares a relay.
func runFaults(ctx context.Context, l *lab) error {
	peers := l.wanted((*peer).balances)
	if len(peers) == 0 {
		return nil // that they are missing has been said
	}
	l.progress.next(time.Now(), l.faultsSeconds(), "faults: %d at the same time, of %d peers", len(faultCases()), len(peers))
	boxes := make([][]result.MatrixBox, len(peers)) // by peer, by fault
	errs := make([]error, len(peers))
	var all sync.WaitGroup
	for k, p := range peers {
		all.Go(func() { boxes[k], errs[k] = l.suffer(ctx, p) })
	}
	all.Wait()
	l.progress.end()
	if ctx.Err() == nil { // an outbreak that was cut short says nothing
		l.reportFaults(peers, boxes, errs)
	}
	return nil
}

// reportFaults puts the peers side by side.
func (l *lab) reportFaults(peers []*peer, boxes [][]result.MatrixBox, errs []error) {
	m := result.Matrix{
		ID: "faults", Title: "Failed sessions and slowest greeting while one relay of two is ill", Case: "fault",
		How: fmt.Sprintf("Open model, %d sessions a second for each fault; after %v the first relay of two goes wrong, and stays so for %v. Failed sessions, of all, and the longest wait for a greeting that came. Clients wait %v for each reply. iocopy and direct know no second relay.",
			faultRate, l.amounts.healthy, l.amounts.ill, clientPatience),
	}
	for k, c := range faultCases() {
		row := result.Row{Case: c.name}
		for n := range peers {
			if errs[n] == nil {
				row.Cells = append(row.Cells, boxes[n][k])
			}
		}
		m.Rows = append(m.Rows, row)
	}
	for _, err := range errs {
		if err != nil {
			l.note("faults: %v", err)
		}
	}
	if l.peer(smtplb) != nil {
		m.Bar = faultBar(m)
	}
	l.out.Matrices = append(l.out.Matrices, m)
}

// suffer takes one peer through all faults.
func (l *lab) suffer(ctx context.Context, p *peer) ([]result.MatrixBox, error) {
	ward, err := l.admit(p)
	if err != nil {
		return nil, err
	}
	defer ward.relays.close()
	boxes := make([]result.MatrixBox, len(ward.cases))
	err = l.one(ctx, ward.v, func(i *instance) error {
		infected := make(chan struct{})
		outbreak := time.AfterFunc(l.amounts.healthy, func() { defer close(infected); ward.infect() })
		errs := make([]error, len(ward.cases))
		var all sync.WaitGroup
		for k := range ward.cases {
			all.Go(func() { boxes[k], errs[k] = l.patient(ctx, ward, i, k) })
		}
		all.Wait()
		if !outbreak.Stop() {
			<-infected
		}
		return errors.Join(errs...)
	})
	return boxes, err
}

// patient is one peer's clients under one fault.
func (l *lab) patient(ctx context.Context, ward *patients, i *instance, k int) (result.MatrixBox, error) {
	cfg := clients(i, k)
	cfg.Rate, cfg.Duration = faultRate, l.amounts.healthy+l.amounts.ill
	cfg.Ledger = new(mail.Ledger)
	run, err := source.Run(ctx, cfg)
	if err != nil {
		return result.MatrixBox{}, fmt.Errorf("%s: %w", ward.cases[k].name, err)
	}
	verdict := cfg.Ledger.Compare(ward.relays.sink.Receipts().Of(cfg.Run))
	return faultBox(ward.v.key, run, &verdict), nil
}

// faultBox says what became of the sessions and of their mail.
func faultBox(peer string, run *result.Run, verdict *result.Verdict) result.MatrixBox {
	greeting, _ := latencyOf(run, "greeting") // none: nobody was greeted
	failed := run.Sessions.Failed + run.Sessions.Dropped
	box := result.MatrixBox{
		Peer: peer,
		Text: fmt.Sprintf("%d of %d, %s", failed, run.Sessions.Started, waitText(greeting.MaxMS)),
		Values: map[string]float64{
			"failed": float64(failed), "sessions": float64(run.Sessions.Started), "slowest_ms": greeting.MaxMS,
			"lost": float64(verdict.Lost), "duplicated": float64(verdict.Duplicated), "corrupted": float64(verdict.Corrupted),
		},
		Good: failed == 0 && verdict.OK(),
	}
	if !verdict.OK() {
		box.Text += fmt.Sprintf("; lost %d, twice %d, damaged %d, unexpected %d",
			verdict.Lost, verdict.Duplicated, verdict.Corrupted, verdict.Unexpected)
	}
	return box
}

// waitText is a wait as a person counts it.
func waitText(ms float64) string {
	if ms >= 1000 {
		return fmt.Sprintf("%.1f s", ms/1000)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// faultBar judges smtplb: no session may fail, no mail may be lost, doubled or
// damaged, under any fault.
func faultBar(m result.Matrix) *result.Bar {
	const text = "smtplb: 0 sessions failed, 0 messages lost, duplicated or corrupted, under every fault"
	bad, seen := 0.0, 0
	for _, row := range m.Rows {
		k := slices.IndexFunc(row.Cells, func(b result.MatrixBox) bool { return b.Peer == smtplb })
		if k < 0 {
			continue
		}
		seen++
		v := row.Cells[k].Values
		bad += v["failed"] + v["lost"] + v["duplicated"] + v["corrupted"]
		if !row.Cells[k].Good && v["failed"] == 0 {
			bad++
		}
	}
	if seen < len(faultCases()) {
		return &result.Bar{Text: text, Verdict: result.NotMeasured}
	}
	return &result.Bar{Text: text, Got: bad, Verdict: result.MetIf(bad == 0)}
}
