package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"smtplb/balancer"
	"smtplb/internal/cluster"
	"smtplb/internal/handover"
)

// A process that was replaced has sessions yet, and they count: of each shared limit
// it keeps what it may have at most, its claim, and says over a socket to the one
// that serves how that gets less. The end of the socket is the end of its claims.
// A process that is itself replaced passes the sockets on.

// keptCluster is what one process gives to the next.
type keptCluster struct {
	cluster.Handed
	Elders map[string]claimed `json:"elders"` // by the name of the socket
}

// claimed are the sessions that a process may have, by limit.
type claimed map[string]int

// elders are the processes before this one.
type elders struct {
	mu      sync.Mutex
	all     map[string]*elder // by the name of the socket
	own     *elder            // this process, as one; nil: it is none, and none is prepared
	heard   bool              // they are read
	reading sync.WaitGroup
}

type elder struct {
	name   string
	claims claimed
	file   *os.File // where it says what it claims; of own: where this process does
}

func newElders() *elders { return &elders{all: map[string]*elder{}} }

// claims are the sums of what all of them may have.
func (e *elders) claims() claimed {
	e.mu.Lock()
	defer e.mu.Unlock()
	sum := claimed{}
	for _, one := range e.all {
		for key, n := range one.claims {
			sum[key] += n
		}
	}
	return sum
}

func (e *elders) none() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.all) == 0
}

// claimsMost is the most bytes that an elder says at once.
const claimsMost = 1 << 20

// read takes in what an elder says until it ends, or until its file is given a
// deadline.
func (e *elders) read(one *elder) {
	buffer := make([]byte, claimsMost)
	for {
		n, err := one.file.Read(buffer)
		if os.IsTimeout(err) {
			return
		}
		var said claimed
		e.mu.Lock()
		switch {
		case err != nil || n == 0: // it has ended
			delete(e.all, one.name)
			e.mu.Unlock()
			_ = one.file.Close()
			return
		case json.Unmarshal(buffer[:n], &said) == nil:
			one.claims = said
		}
		e.mu.Unlock()
	}
}

// listen has all of them heard.
func (e *elders) listen() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.heard {
		return
	}
	e.heard = true
	for _, one := range e.all {
		_ = one.file.SetReadDeadline(time.Time{})
		e.reading.Go(func() { e.read(one) })
	}
}

// hush has none of them heard any more, so that another process may: what they say
// waits.
func (e *elders) hush() {
	e.mu.Lock()
	e.heard = false
	for _, one := range e.all {
		_ = one.file.SetReadDeadline(time.Unix(1, 0))
	}
	e.mu.Unlock()
	e.reading.Wait()
}

// files are the sockets for the next process: those of the elders, and one on
// which this process will speak. Duplicates, as the caller closes them.
func (a *agreement) files() ([]handover.File, error) {
	if a.node == nil {
		return nil, nil
	}
	e := a.elders
	e.mu.Lock()
	defer e.mu.Unlock()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	if e.own != nil { // of an upgrade that was refused
		_ = e.own.file.Close()
	}
	// Names of files end with an address: older programs ask for one.
	name := elderSocket + " 0.0.0.0:" + strconv.Itoa(os.Getpid()%(1<<16))
	e.own = &elder{name: name, file: os.NewFile(uintptr(ends[0]), name)} //nolint:gosec // a descriptor
	files := []handover.File{{Name: name, FD: ends[1]}}
	for _, one := range e.all {
		fd, err := duplicate(one.file)
		if err != nil {
			closeFiles(files)
			return nil, err
		}
		files = append(files, handover.File{Name: one.name, FD: fd})
	}
	return files, nil
}

// duplicate is a file's descriptor for another process. File.Fd would have the file
// block from then on.
func duplicate(file *os.File) (fd int, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return -1, err
	}
	wrong := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) })
	return fd, errors.Join(err, wrong)
}

// giveAgreement ends the talk with the other balancers, and returns what the process that
// takes over is to know; nil: nothing. From then on this one's sessions are within
// what it claims.
func (d *daemon) giveAgreement() (*keptCluster, error) {
	a := d.cluster
	if a.node == nil {
		return nil, nil //nolint:nilnil // there is nothing to give
	}
	a.giveUp()
	if err := a.node.Close(false); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	a.elders.hush()
	given := &keptCluster{Handed: a.node.HandOver(), Elders: map[string]claimed{}}
	a.elders.own.claims = d.claim(nil, true)
	for _, one := range append(slices.Collect(maps.Values(a.elders.all)), a.elders.own) {
		given.Elders[one.name] = one.claims
	}
	return given, nil
}

// takeBack undoes giveAgreement.
func (d *daemon) takeBack() {
	if d.cluster.node == nil {
		return
	}
	d.cluster.elders.listen()
	if err := d.cluster.node.Open(); err != nil { // the process that was to take over may not be gone yet
		d.agreeLater(err)
	}
}

// Sessions that are being set up in a process that is replaced may need another
// relay yet. After so long none does.
const (
	spareClaim = 4
	setUpTime  = time.Minute
)

// claim limits this process to the sessions that it has, and with spare a few more
// where there is room, and to what it has claimed before; it returns that.
func (d *daemon) claim(before claimed, spare bool) claimed {
	all := claimed{}
	now := time.Now()
	pools := d.counted()
	for _, p := range pools {
		var quotas []balancer.Quota
		for _, l := range p.relays.balancer.Limits() {
			n := l.Active
			if spare && !l.Gone && p.out.IsZero() {
				n += min(max(l.Quota-l.Active, 0)/2, spareClaim)
			}
			key := limitKey(p.name, &l)
			if before != nil {
				n = min(n, before[key])
			}
			all[key] += n
			quotas = append(quotas, balancer.Quota{Backend: l.Backend, Sessions: n})
		}
		p.relays.balancer.SetQuotas(now, quotas)
	}
	run := claimed{}
	for _, p := range pools { // sessions may have been faster
		for _, l := range p.relays.balancer.Limits() {
			run[limitKey(p.name, &l)] += l.Active
		}
	}
	for key, n := range run {
		all[key] = max(all[key], n)
	}
	return all
}

// claimTime is how often a process that was replaced says what it claims.
const claimTime = 500 * time.Millisecond

// becomeElder has this process, which another has replaced, say what it claims
// until it ends.
func (d *daemon) becomeElder() {
	own, from := d.cluster.elders.own, time.Now()
	if d.cluster.node == nil {
		return
	}
	go func() {
		t := time.NewTicker(claimTime)
		defer t.Stop()
		for now := range t.C {
			is := d.claim(own.claims, now.Sub(from) < setUpTime)
			if maps.Equal(is, own.claims) {
				continue
			}
			text, err := json.Marshal(is)
			if err == nil {
				_, err = own.file.Write(text)
			}
			if err != nil {
				d.log.Warn("cluster: the process that serves is not told how few sessions this one has left", zap.Error(err))
				return
			}
			own.claims = is
		}
	}()
}

// agreeAfter goes on with the agreement of the process before. What cannot be done
// is tried again: clients are served meanwhile, within what is this balancer's.
func (d *daemon) agreeAfter(given *keptCluster) {
	for _, s := range d.from.elders {
		if given == nil || given.Elders[s.name] == nil || d.cluster.together.Balancers == 0 {
			_ = unix.Close(s.fd)
			continue
		}
		d.cluster.elders.all[s.name] = &elder{s.name, given.Elders[s.name], os.NewFile(uintptr(s.fd), s.name)} //nolint:gosec // a descriptor
	}
	d.cluster.elders.listen()
	var before *cluster.Handed
	if given != nil {
		before = &given.Handed
	}
	if err := d.agree(before); err != nil {
		d.agreeLater(err)
	}
}

// agreeLater tries again until it can be done, or until another process is to do it.
func (d *daemon) agreeLater(err error) {
	d.log.Error("cluster: tried again each second", zap.Error(err))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	d.cluster.giveUp = func() {
		cancel()
		<-ended
	}
	go func() {
		defer close(ended)
		t := time.NewTicker(time.Second)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if d.cluster.node.Open() == nil {
				d.log.Info("cluster: the address is bound now")
				return
			}
		}
	}()
}
