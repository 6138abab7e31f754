package smtptest

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// EnterNetwork has the goroutine's thread be in a network namespace, by its file,
// until leave is called. The thread must live on then: with it would die what it
// has started, which other tests need (PR_SET_PDEATHSIG goes by the thread).
func EnterNetwork(file string) (leave func() error, err error) {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	away, err := os.Open(file)
	if err != nil {
		return nil, errors.Join(err, home.Close())
	}
	defer func() { _ = away.Close() }() // nothing was written
	runtime.LockOSThread()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, errors.Join(err, home.Close())
	}
	return func() error {
		defer func() { _ = home.Close() }()
		// A thread that cannot go back stays locked, and ends with its goroutine.
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		runtime.UnlockOSThread()
		return nil
	}, nil
}

// Inside calls f with that namespace as its network: sockets that it makes are of
// there, whoever uses them afterwards.
func Inside[T any](file string, f func() (T, error)) (result T, err error) {
	leave, err := EnterNetwork(file)
	if err != nil {
		return result, err
	}
	result, err = f()
	return result, errors.Join(err, leave())
}
