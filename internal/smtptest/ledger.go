package smtptest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Ledger holds which messages were sent, to be compared with what relays have.
// The zero value is empty. Its methods are safe for concurrent use.
type Ledger struct {
	mu      sync.Mutex
	entries map[string]entry // by ID
}

type entry struct {
	sum              [32]byte
	accepted, unsure int // tries
}

// Record notes the result of Send(m): accepted for nil, perhaps accepted for an
// error that Unsure says so of, else refused, which is as if never sent. Trying
// again under the same ID is fine: each try counts by itself. It returns err
// unchanged.
func (l *Ledger) Record(m Outgoing, err error) error {
	unsure := Unsure(err)
	if err != nil && !unsure {
		return err
	}
	sum := sha256.Sum256(m.content())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries == nil {
		l.entries = make(map[string]entry)
	}
	e := l.entries[m.ID]
	e.sum = sum
	if unsure {
		e.unsure++
	} else {
		e.accepted++
	}
	l.entries[m.ID] = e
	return err
}

// Accepted is the number of messages accepted for certain.
func (l *Ledger) Accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, e := range l.entries {
		n += e.accepted
	}
	return n
}

// Report is the difference between a Ledger and the messages of relays: IDs in
// alphabetical order, each once in a list.
type Report struct {
	Delivered  int      // distinct IDs sent and there
	Lost       []string // there less often than accepted
	Duplicated []string // there more often than accepted or perhaps accepted
	Corrupted  []string // there with another sum
	Unexpected []string // there, but refused or never sent
}

// Compare takes what all relays together have, each as from Relay.Messages. A
// message that was perhaps accepted may be there or not (RFC 1047).
func (l *Ledger) Compare(got ...[]Message) Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	var report Report
	copies := make(map[string]int)
	for _, m := range slices.Concat(got...) {
		copies[m.ID]++
		e, known := l.entries[m.ID]
		switch {
		case !known:
			report.Unexpected = append(report.Unexpected, m.ID)
		case e.sum != m.Sum:
			report.Corrupted = append(report.Corrupted, m.ID)
		}
	}
	for id, e := range l.entries {
		switch n := copies[id]; {
		case n < e.accepted:
			report.Lost = append(report.Lost, id)
		case n > e.accepted+e.unsure:
			report.Duplicated = append(report.Duplicated, id)
		}
		if copies[id] > 0 {
			report.Delivered++
		}
	}
	for _, list := range []*[]string{&report.Lost, &report.Duplicated, &report.Corrupted, &report.Unexpected} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return report
}

// Err is nil if nothing was lost, duplicated, corrupted or unexpected.
func (r Report) Err() error {
	var parts []string
	for _, part := range []struct {
		word string
		ids  []string
	}{
		{"lost", r.Lost}, {"duplicated", r.Duplicated}, {"corrupted", r.Corrupted}, {"unexpected", r.Unexpected},
	} {
		if n := len(part.ids); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s %q", n, part.word, part.ids[:min(n, 10)]))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return errors.New("smtptest: " + strings.Join(parts, ", "))
}
