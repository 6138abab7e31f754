package bench

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtplb/balancer"
	"smtplb/proxy"
)

// path is a way from the client to the relay: open returns where the client
// connects, and has all of it gone when the test ends.
type path struct {
	name string
	open func(tb testing.TB, relay netip.AddrPort) netip.AddrPort
}

func paths() []path {
	return []path{
		{"direct", func(_ testing.TB, relay netip.AddrPort) netip.AddrPort { return relay }},
		{"iocopy", openBaseline},
		{"smtplb", openServer},
	}
}

func openBaseline(tb testing.TB, relay netip.AddrPort) netip.AddrPort {
	tb.Helper()
	ln, err := listenLoopback()
	if err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- Baseline{Target: relay}.Serve(ln) }()
	tb.Cleanup(func() {
		_ = ln.Close()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	return netip.MustParseAddrPort(ln.Addr().String())
}

// openServer starts smtplb with one loop: the other CPUs are for the client and
// the relay, and a loop's cost does not depend on how many there are.
func openServer(tb testing.TB, relay netip.AddrPort) netip.AddrPort {
	tb.Helper()
	pool, err := balancer.New(balancer.Config{Name: "outbound", Backends: []balancer.BackendConfig{{Name: "relay", Weight: 1}}})
	if err != nil {
		tb.Fatal(err)
	}
	srv := &proxy.Server{
		Workers: 1,
		Listeners: []proxy.Listener{{
			Address: netip.MustParseAddrPort("127.0.0.1:0"),
			Allow:   []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
			Pool:    &proxy.Pool{Balancer: pool, Targets: []proxy.Target{{Address: relay}}},
		}},
		OnSession: func(*proxy.Record) {}, // so that the record is made
		OnError:   func(err error) { tb.Errorf("server: %v", err) },
	}
	if err := srv.Listen(); err != nil {
		tb.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve() }()
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), peerPatience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			tb.Errorf("shutdown: %v", err)
			_ = srv.Close()
		}
		if err := <-served; !errors.Is(err, proxy.ErrServerClosed) {
			tb.Errorf("serve: %v", err)
		}
	})
	return srv.Addresses()[0]
}

// processCPU is what this process has used so far, user and system.
func processCPU(tb testing.TB) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// mallocs is how many heap objects this process has allocated so far.
func mallocs() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}
