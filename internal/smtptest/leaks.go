package smtptest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

const (
	descriptorPatience = 5 * time.Second
	pollPause          = 5 * time.Millisecond
)

// CheckDescriptors fails the test if, at its end, the process has more open
// descriptors than now. Descriptors whose close is under way have 5 s. Call it
// before anything that cleans up after itself, Start for one, and not in
// parallel tests: the process has one table.
func CheckDescriptors(tb TB) {
	tb.Helper()
	checkDescriptors(tb, descriptorPatience)
}

func checkDescriptors(tb TB, patience time.Duration) {
	tb.Helper()
	// The runtime's own descriptors (epoll, eventfd) come with the first pipe or
	// socket and stay; they must not look like a leak.
	if r, w, err := os.Pipe(); err == nil {
		_ = r.Close()
		_ = w.Close()
	}
	before, err := descriptors()
	if err != nil {
		tb.Fatalf("%v", err)
		return
	}
	tb.Cleanup(func() {
		tb.Helper()
		var after map[string]string
		back := poll(patience, func() bool {
			// io.Copy between sockets leaves pipes in a pool, which a collection empties.
			if after, err = descriptors(); err == nil && len(after) > len(before) {
				runtime.GC()
			}
			return err == nil && len(after) <= len(before)
		})
		if err != nil {
			tb.Errorf("%v", err)
		} else if !back {
			tb.Errorf("%d descriptors open, %d at the start; new ones: %q", len(after), len(before), added(before, after))
		}
	})
}

// descriptors returns what each open descriptor is, by its number.
func descriptors() (map[string]string, error) {
	const table = "/proc/self/fd"
	entries, err := os.ReadDir(table)
	if err != nil {
		return nil, fmt.Errorf("smtptest: open descriptors: %w", err)
	}
	open := make(map[string]string, len(entries))
	for _, e := range entries {
		// The one that read the table is closed by now, and so are others perhaps.
		if link, err := os.Readlink(filepath.Join(table, e.Name())); err == nil {
			open[e.Name()] = link
		}
	}
	return open, nil
}

func added(before, after map[string]string) []string {
	var news []string
	for number, link := range after {
		if before[number] != link {
			news = append(news, number+" "+link)
		}
	}
	return news
}

// Eventually waits until cond holds, at most d, and ends the test with the
// message if it does not. It is for conditions that nothing announces.
func Eventually(tb TB, d time.Duration, cond func() bool, format string, args ...any) {
	tb.Helper()
	if !poll(d, cond) {
		tb.Fatalf("not within %v: %s", d, fmt.Sprintf(format, args...))
	}
}

// poll asks at least once, and last at the end of d or later.
func poll(d time.Duration, cond func() bool) bool {
	end := time.Now().Add(d)
	for {
		last := !time.Now().Before(end)
		if cond() {
			return true
		}
		if last {
			return false
		}
		time.Sleep(pollPause)
	}
}
