package resolve

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// lookupTime bounds one look-up, all its questions together.
	lookupTime = time.Minute

	jitter = 0.1 // of the time to the next look-up, which comes that much later at most
)

// Watcher keeps what was found under names up to date. Set the fields, then call
// what you like, from any goroutine; change no field afterwards.
type Watcher struct {
	// Lookup is a Resolver's.
	Lookup func(context.Context, Query) (Found, error)

	// Refuse, where set, says why an address is not to be used, "" where it is.
	Refuse func(netip.AddrPort) string

	// Changed, where set, is called after the records of a query have become
	// others. Tell, where set, is given what people should know: not each try, but when a
	// query begins to fail, when it is well again, and what is left out. Both are called
	// without a lock, one call at a time for a query, and must not block.
	Changed func()
	Tell    func(News)

	// Rand returns numbers in [0, 1), for the jitter. nil: math/rand/v2's.
	Rand func() float64

	mu    sync.Mutex
	names map[Query]*name
	wake  chan struct{} // of Run; holds one
}

// News is a change of what is known about a query.
type News struct {
	Query Query
	Err   error         // it fails from now on; nil: it does not
	Again time.Duration // it is well again, after so long
	Kept  int           // relays that are used of what was found before, where it fails
	Notes []string      // what is left out from now on
}

// Status is what is known about a query.
type Status struct {
	Query    Query
	Records  int
	Answered time.Time // of the last good answer, with nothing missing; zero: never
	Err      error     // why it fails; nil: it does not
	Failures [lastFault + 1]uint64
}

// name is one query, guarded by the watcher's lock. looking is a lock, too, held for
// the whole of a look-up, so that a later answer is never overwritten by an earlier one.
type name struct {
	query   Query
	looking chan struct{} // holds one

	targets  []Target // as merged
	records  []Record
	notes    []string
	answered time.Time
	err      error
	since    time.Time // when it began to fail
	inRow    int       // failures
	failures [lastFault + 1]uint64

	due  time.Time
	busy bool // it is being looked up, or about to be
	gone bool
}

// Set makes these the queries that are kept up to date: new ones are due at once,
// others are forgotten.
func (w *Watcher) Set(queries ...Query) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := map[Query]bool{}
	for _, n := range w.add(queries) {
		wanted[n.query] = true
	}
	for q, n := range w.names {
		if !wanted[q] {
			n.gone = true
			delete(w.names, q)
		}
	}
	w.nudge()
}

// add is called with mu held.
func (w *Watcher) add(queries []Query) []*name {
	if w.names == nil {
		w.names = map[Query]*name{}
		w.wake = make(chan struct{}, 1)
	}
	var all []*name
	for _, q := range queries {
		if w.names[q] == nil {
			w.names[q] = &name{query: q, looking: make(chan struct{}, 1)}
		}
		all = append(all, w.names[q])
	}
	return all
}

// nudge has Run look what is due; mu is held.
func (w *Watcher) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Refresh looks these queries up now, beside those that are there, and returns
// when all have an answer or ctx has ended.
func (w *Watcher) Refresh(ctx context.Context, queries ...Query) {
	w.mu.Lock()
	names := w.add(queries)
	for _, n := range names {
		n.busy = true
	}
	w.mu.Unlock()
	var running sync.WaitGroup
	for _, n := range names {
		running.Go(func() { w.look(ctx, n) })
	}
	running.Wait()
}

// Run looks names up as they are due, until ctx ends and the last look-up with it.
func (w *Watcher) Run(ctx context.Context) {
	w.mu.Lock()
	w.add(nil)
	w.mu.Unlock()
	var running sync.WaitGroup
	defer running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, next := w.due(time.Now())
		for _, n := range due {
			running.Go(func() { w.look(ctx, n) })
		}
		timer.Stop()
		if next > 0 {
			timer.Reset(next)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// due returns the names to be looked up now, and how long it is to the next one;
// 0: nobody knows.
func (w *Watcher) due(now time.Time) (due []*name, next time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.names {
		switch wait := n.due.Sub(now); {
		case n.busy:
		case wait <= 0:
			n.busy = true
			due = append(due, n)
		case next == 0 || wait < next:
			next = wait
		}
	}
	return due, next
}

// look looks a name up, and takes in what comes of it.
func (w *Watcher) look(ctx context.Context, n *name) {
	select {
	case n.looking <- struct{}{}:
		defer func() { <-n.looking }()
	case <-ctx.Done():
		w.mu.Lock()
		n.busy = false // at worst Run looks once more than it need
		w.nudge()
		w.mu.Unlock()
		return
	}
	bounded, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	found, err := w.Lookup(bounded, n.query)
	w.mu.Lock()
	n.busy = false
	if n.gone || ctx.Err() == context.Canceled {
		w.nudge()
		w.mu.Unlock()
		return
	}
	news, changed := w.take(n, found, err, time.Now())
	w.nudge()
	w.mu.Unlock()
	if w.Tell != nil {
		for _, one := range news {
			w.Tell(one)
		}
	}
	if changed && w.Changed != nil {
		w.Changed()
	}
}

// take makes what is known of a name from what a look-up found. It returns what is
// to be told, and whether the records are others; mu is held.
func (w *Watcher) take(n *name, found Found, err error, now time.Time) (news []News, changed bool) {
	if err == nil {
		changed, err = w.replace(n, found, &news)
	}
	wait := found.TTL
	if err == nil {
		if n.inRow > 0 {
			news = append(news, News{Query: n.query, Again: now.Sub(n.since)})
		}
		n.answered, n.inRow = now, 0
	} else {
		n.failures[min(FaultOf(err), lastFault)]++
		if n.inRow == 0 {
			n.since = now
			news = append(news, News{Query: n.query, Err: err, Kept: len(n.records)})
		}
		n.inRow++
		wait = retry(n.inRow, err)
	}
	n.err = err
	n.due = now.Add(wait + time.Duration(jitter*w.random()*float64(wait)))
	return news, changed
}

// replace puts another answer in place of the last one, unless there would be
// nobody left. The error says what is missing.
func (w *Watcher) replace(n *name, found Found, news *[]News) (changed bool, err error) {
	targets := merge(n.targets, found.Targets)
	records, notes := recordsOf(targets, w.Refuse)
	notes = shorten(slices.Concat(found.Notes, notes))
	if !slices.Equal(notes, n.notes) {
		n.notes = notes
		if len(notes) > 0 {
			*news = append(*news, News{Query: n.query, Notes: notes})
		}
	}
	err = missing(found.Targets)
	if len(records) == 0 {
		if err == nil {
			err = errEmpty(n.query, notes)
		}
		return false, err
	}
	changed = !slices.Equal(records, n.records)
	n.targets, n.records = targets, records
	return changed, err
}

// retry is how long it is to the next try after so many failures in a row.
func retry(inRow int, err error) time.Duration {
	wait := firstRetry << min(inRow-1, 10)
	if e, ok := err.(*Error); ok && negative(err) { //nolint:errorlint // of this package, and not wrapped
		wait = max(wait, bounded(e.TTL))
	}
	return min(wait, MaxRetry)
}

func (w *Watcher) random() float64 {
	if w.Rand != nil {
		return w.Rand()
	}
	return rand.Float64()
}

// Records are the relays that were found last. Where nothing was ever found, the
// error says why.
func (w *Watcher) Records(q Query) ([]Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.names[q]
	switch {
	case n == nil:
		return nil, &Error{Fault: Invalid, Text: q.String() + ": nobody looks it up"}
	case len(n.records) > 0:
		return n.records, nil
	case n.err != nil:
		return nil, n.err
	default:
		return nil, &Error{Fault: Timeout, Text: q.String() + ": no answer yet"}
	}
}

// Status is what is known about each query, in no order.
func (w *Watcher) Status() []Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]Status, 0, len(w.names))
	for _, n := range w.names {
		all = append(all, Status{
			Query: n.query, Records: len(n.records), Answered: n.answered, Err: n.err, Failures: n.failures,
		})
	}
	return all
}
