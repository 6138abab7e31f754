package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm waits for a point in time to the tens of microseconds. The timers of Go
// are not made for that: a process that has nothing else to do sleeps in epoll,
// which counts milliseconds, and a session of 200 us would seem to take five
// times that. A timerfd wakes epoll when its time has come.
type alarm struct {
	file *os.File
	fd   int
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	return &alarm{os.NewFile(uintptr(fd), "timerfd"), fd}, nil
}

func (a *alarm) close() { _ = a.file.Close() } // nothing was written

// wait returns at that time, at once if it has passed, or with false if ctx ends
// before.
func (a *alarm) wait(ctx context.Context, until time.Time) bool {
	left := time.Until(until)
	if left <= 0 {
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}
	if unix.TimerfdSettime(a.fd, 0, &spec, nil) != nil || a.file.SetReadDeadline(time.Time{}) != nil {
		return waitRoughly(ctx, left)
	}
	wake := context.AfterFunc(ctx, func() { _ = a.file.SetReadDeadline(time.Unix(0, 1)) }) // fails on a closed file only
	defer wake()
	var expirations [8]byte
	if _, err := a.file.Read(expirations[:]); err != nil {
		return errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(until)
	}
	return true
}

// waitRoughly is for a kernel without timerfd.
func waitRoughly(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
