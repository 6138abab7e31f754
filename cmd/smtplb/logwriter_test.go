package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// gate takes writes while nobody holds its mutex.
type gate struct {
	mu     sync.Mutex
	writes []string
	got    int
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes = append(g.writes, string(p))
	g.got += len(p)
	return len(p), nil
}

func mustWrite(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); n != len(text) || err != nil {
		t.Errorf("%d of %d bytes: %v", n, len(text), err)
	}
}

// Whoever logs does not wait for who reads, and in the end every line is there, whole and in order.
func TestLinesWaitForTheirReader(t *testing.T) {
	g := &gate{}
	w := newLogWriter(g)
	var want strings.Builder
	g.mu.Lock() // the reader stands still
	for i := 0; want.Len() < logMost/2; i++ {
		line := fmt.Sprintf("%d %s\n", i, strings.Repeat("x", i%700))
		mustWrite(t, w, line)
		want.WriteString(line)
	}
	g.mu.Unlock()
	w.close()
	mustWrite(t, w, "afterwards\n")
	w.close() // again
	if got := strings.Join(g.writes, ""); got != want.String()+"afterwards\n" {
		t.Errorf("%d bytes, want %d and a line", len(got), want.Len())
	}
	for _, part := range g.writes {
		if !strings.HasSuffix(part, "\n") || len(part) > logChunk {
			t.Errorf("a write of %d bytes that ends with %q", len(part), part[max(len(part)-10, 0):])
		}
	}
}

// With more than a bound, whoever logs waits, and nothing is lost.
func TestLinesAreBounded(t *testing.T) {
	g := &gate{}
	w := newLogWriter(g)
	line := strings.Repeat("y", 1<<20-1) + "\n"
	g.mu.Lock()
	written := make(chan int, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 40 {
			mustWrite(t, w, line)
			written <- i
		}
	}()
	for range logMost >> 20 { // these go without anybody who reads
		<-written
	}
	w.mu.Lock()
	if n := len(w.lines); n > logMost {
		t.Errorf("%d bytes wait, want %d at most", n, logMost)
	}
	w.mu.Unlock()
	g.mu.Unlock()
	<-done
	w.close()
	if g.got != 40<<20 {
		t.Errorf("%d bytes, want %d", g.got, 40<<20)
	}
}

func TestLinesOfManyAreWhole(t *testing.T) {
	var out bytes.Buffer
	w := newLogWriter(&out)
	var all sync.WaitGroup
	for k := range 8 {
		all.Go(func() {
			for i := range 500 {
				mustWrite(t, w, fmt.Sprintf("%d %d\n", k, i))
				if i%100 == 0 {
					_ = w.Sync()
				}
			}
		})
	}
	all.Wait()
	w.close()
	next := make([]int, 8)
	lines := slices.Collect(strings.Lines(out.String()))
	for _, line := range lines {
		var k, i int
		if _, err := fmt.Sscanf(line, "%d %d\n", &k, &i); err != nil || next[k] != i {
			t.Fatalf("%q, want line %d of it", line, next[k])
		}
		next[k]++
	}
	if len(lines) != 8*500 {
		t.Errorf("%d lines, want %d", len(lines), 8*500)
	}
}

func TestChunk(t *testing.T) {
	long := strings.Repeat("z", logChunk) + "\n"
	for _, test := range []struct {
		text string
		want int
	}{{"a\nb\n", 4}, {long, len(long)}, {long + "b\n", len(long)}, {"a\n" + long, 2}, {long[:logChunk] + "z", logChunk + 1}} {
		if got := chunk([]byte(test.text)); got != test.want {
			t.Errorf("%d bytes: %d, want %d", len(test.text), got, test.want)
		}
	}
}
