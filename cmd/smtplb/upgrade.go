package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"smtplb/internal/admin"
	"smtplb/internal/handover"
)

// Bounds of an upgrade.
const (
	prepareTime = time.Minute      // for the new process to read its configuration and look names up
	giveTime    = 10 * time.Second // for it to restore the state and serve; nobody is accepted meanwhile
)

// succession is the replacement of this process by another.
type succession struct {
	asked atomic.Bool // an upgrade is under way, or about to be

	mu       sync.Mutex      // held while the two processes change places
	cancel   func(error)     // ends the preparation; nil: there is none. Guarded by cancelMu
	cancelMu sync.Mutex      //
	next     *handover.Child // that has taken over; nil: none has
	left     int64           // sessions that this process had then
}

// over tells whether another process has taken over, and which.
func (s *succession) over() (pid int, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil {
		return 0, false
	}
	return s.next.PID(), true
}

// stopped tells who has taken over, nil if nobody has, and whether it did while this
// was asked: then what this process was told was meant for that one.
func (s *succession) stopped() (next *handover.Child, during bool) {
	during = !s.mu.TryLock()
	if during {
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	return s.next, during
}

// abandon ends an upgrade that is being prepared.
func (s *succession) abandon(why error) {
	s.cancelMu.Lock()
	defer s.cancelMu.Unlock()
	if s.cancel != nil {
		s.cancel(why)
	}
}

func (s *succession) preparing(cancel func(error)) {
	s.cancelMu.Lock()
	defer s.cancelMu.Unlock()
	s.cancel = cancel
}

// tryUpgrade upgrades, or says in the log why not.
func (d *daemon) tryUpgrade(ctx context.Context) {
	defer d.succession.asked.Store(false)
	began := time.Now()
	if err := d.upgrade(ctx); err != nil {
		d.log.Error("upgrade refused: nothing changed", zap.Strings("errors", admin.Mistakes(err)))
		return
	}
	d.log.Info("handed over: this process lets its sessions finish", zap.Int("to", d.succession.next.PID()),
		zap.Int64("sessions", d.succession.left), zap.Duration("took", time.Since(began)))
}

// upgrade has the program that lies at this one's path now take over. With an
// error nothing has changed, but for connections that waited a moment.
func (d *daemon) upgrade(ctx context.Context) error {
	ctx, stopTimer := context.WithTimeoutCause(ctx, prepareTime, errors.New("the new process was not prepared after "+prepareTime.String()))
	defer stopTimer()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.succession.preparing(cancel)
	defer d.succession.preparing(nil)

	program, err := handover.Again()
	if err != nil {
		return err
	}
	d.log.Info("upgrade: a new process prepares", zap.String("program", program.Path))
	files, err := d.files()
	if err != nil {
		return err
	}
	known, err := json.Marshal(d.names.watcher.Known())
	if err != nil {
		closeFiles(files)
		return err
	}
	child, err := handover.Start(ctx, program, files, known)
	closeFiles(files)
	if err != nil {
		return err
	}
	taken, err := child.Prepared(ctx)
	if err != nil {
		child.Kill()
		return err
	}
	return d.changePlaces(child, taken)
}

// changePlaces makes the new process, which is prepared, the one that serves.
func (d *daemon) changePlaces(child *handover.Child, taken []string) error {
	d.succession.mu.Lock()
	defer d.succession.mu.Unlock()
	err := d.give(child)
	if err != nil {
		child.Kill()
		d.takeBack()
		return errors.Join(err, d.server.Resume())
	}
	// From here on nothing may fail: the new one accepts.
	d.succession.next, d.succession.left = child, d.server.Stats().Open
	d.notify.leave(child.PID())
	d.becomeElder()
	child.Release()
	d.replaced.Store(true) // whoever asks this process yet must not take the machine for one that serves nobody
	if err := d.server.HandOver(takenAddresses(taken)); err != nil {
		d.log.Error("hand over", zap.Error(err))
	}
	go d.stopAdmin() // it waits for answers under way
	return nil
}

// give pauses, and gives what is known of the relays to the new process.
func (d *daemon) give(child *handover.Child) error {
	if d.draining.Load() {
		return errStopped
	}
	if err := d.server.Pause(); err != nil {
		return err
	}
	given, err := d.giveAgreement()
	if err != nil {
		return err
	}
	state, err := d.keep(given)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), giveTime, errors.New("the new process did not serve after "+giveTime.String()))
	defer cancel()
	return child.Give(ctx, state)
}

var errStopped = errors.New("this process was told to stop meanwhile")

// files are duplicates of all listening sockets, under names by which claim knows
// them.
func (d *daemon) files() ([]handover.File, error) {
	sockets, err := d.server.Sockets()
	if err != nil {
		return nil, err
	}
	var files []handover.File
	for _, s := range sockets {
		files = append(files, handover.File{Name: listenerSocket + " " + s.Address.String(), FD: s.FD})
	}
	fd, err := d.admin.Socket()
	if err != nil {
		closeFiles(files)
		return nil, err
	}
	files = append(files, handover.File{Name: adminSocket + " " + d.admin.Address.String(), FD: fd})
	elders, err := d.cluster.files()
	if err != nil {
		closeFiles(files)
		return nil, err
	}
	return append(files, elders...), nil
}

func closeFiles(files []handover.File) {
	for _, f := range files {
		_ = unix.Close(f.FD)
	}
}

// takenAddresses are the listeners' among the names of files.
func takenAddresses(names []string) []netip.AddrPort {
	var all []netip.AddrPort
	for _, name := range names {
		if text, ok := strings.CutPrefix(name, listenerSocket+" "); ok {
			if a, err := netip.ParseAddrPort(text); err == nil {
				all = append(all, a)
			}
		}
	}
	return all
}

// askUpgrade has the goroutine that reloads upgrade, if that can be.
func (d *daemon) askUpgrade(draining bool, upgrades chan<- struct{}) {
	refuse := func(why string, more ...zap.Field) {
		d.log.Warn("upgrade refused: "+why, more...)
	}
	// First: the lock of over is held for as long as the two change places.
	if !d.succession.asked.CompareAndSwap(false, true) {
		refuse("one is under way")
		return
	}
	pid, over := d.succession.over()
	switch {
	case over:
		refuse("another process has taken over: send it there", zap.Int("pid", pid))
	case draining:
		refuse("this process stops")
	case d.load == nil:
		refuse("the demo has none")
	default:
		upgrades <- struct{}{}
		return
	}
	d.succession.asked.Store(false)
}

// askReload has the goroutine that reloads do so.
func (d *daemon) askReload(reloads chan<- struct{}) {
	if !d.succession.asked.Load() {
		if pid, over := d.succession.over(); over {
			d.log.Warn("reload refused: another process has taken over: send it there", zap.Int("pid", pid))
			return
		}
	}
	select {
	case reloads <- struct{}{}:
	default: // one that has not begun is as good as two
	}
}

// passOnReload has the process that has taken over reload, where this one was asked
// to before that had, and tells whether it did.
func (d *daemon) passOnReload() bool {
	next := d.succession.next
	if next == nil {
		return false
	}
	d.log.Info("reload: passed on", zap.Int("to", next.PID()))
	next.Signal(syscall.SIGHUP)
	return true
}

// succeed takes over from the process that has started this one: when it returns
// nil this one serves.
func (d *daemon) succeed(ctx context.Context) error {
	parent := d.from.parent
	ctx, cancel := context.WithTimeoutCause(ctx, giveTime, errors.New("the process to replace does not give its state"))
	defer cancel()
	state, err := parent.Prepared(ctx, d.taken)
	if err != nil {
		return err
	}
	d.agreeAfter(d.restore(state, "the process before"))
	return d.server.Start()
}

// settled waits until the process before has said that this one is on its own.
func (d *daemon) settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, giveTime, errors.New("the process to replace does not release this one"))
	defer cancel()
	return d.from.parent.Serving(ctx)
}
