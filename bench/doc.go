// Package bench measures what a session and a byte cost in smtplb, beside what
// they cost without it and in the simplest proxy that works.
//
//	make bench                                        # every benchmark of the module
//	go test -run '^$' -bench Session ./bench          # one of them
//	go test -run '^$' -bench . -count 10 ./bench >new
//	go tool -modfile=internal/tools/go.mod benchstat -col "/path@(iocopy smtplb)" new
//	go tool -modfile=internal/tools/go.mod benchstat old new
//
// # What is measured
//
//   - Pick: a slot taken, confirmed and given back, with 2 to 10,000 backends.
//   - Session: whole SMTP sessions with messages of 4 KB, one a session, where
//     setting up counts most, and 20, as Exchange sends them.
//   - Transfer: messages of 1 MB and 20 MB, where only moving bytes counts.
//
// Session and Transfer take three paths: path=direct is the client connected to
// the relay; path=iocopy goes through [Baseline], two goroutines and io.Copy;
// path=smtplb through a proxy.Server with one event loop. What is not exported
// has its benchmarks in its own package: the parse of a greeting and the ways of
// moving bytes (copy, splice, adaptive) in proxy.
//
// # How to read the numbers
//
// Client and relay run in a process of their own, so that allocations and the
// CPU time (cpu-ns/session, cpu-s/GB) are those of the proxy alone, its garbage
// collector included; for path=direct they say what the measuring itself costs.
// Over loopback the kernel does a receiver's work in the sender's time, so that
// the proxy's CPU holds the other side's part for what it sends and lacks its
// own for what it gets.
//
// Time, sessions/s and MB/s are of all processes together on this machine's
// CPUs: with few of them the client and the relay are the limit. Compare paths,
// not machines.
//
// A run of ten sessions is dominated by what happens once: give allocations a
// few hundred (-benchtime 500x) before believing them.
//
// # What it does not do
//
// It does not compare with other load balancers and it is no load test: one
// client process, no faults, no TLS, no second machine.
package bench
