// Package sink is relays for load tests: they take any mail, check it, count it
// and throw it away, and they go wrong exactly as told.
//
//	s, err := sink.Start(sink.Config{Relays: []sink.Relay{{Name: "a", Address: "127.0.0.1:0"}}})
//	...
//	fault, err := sink.ParseFault("a: greeting=421 at=10s for=20s")
//	s.SetFaults([]sink.Fault{fault})
//	... send to s.Address("a") ...
//	s.Stats().Relay("a").Faults["greeting_4xx"] // how many connections it met
//	s.Receipts().Of(run)                        // which messages came, and how often
//	s.Close()
//
// # What it costs
//
// A relay must not be what limits a test. Each loop is one thread with one
// epoll and one buffer; a session that waits is a few hundred octets and no
// goroutine, so that twenty thousand idle ones are cheap. Replies to pipelined
// commands leave in one write. Content is checked by blocks as it passes and
// never held. Only sessions over TLS have goroutines of their own. The
// benchmarks of this package give figures.
//
// # Faults
//
// A Fault is a [Point] of a session, an [Action], and when. It is counted by
// relay and [Fault.Kind] for each connection that it meets, just before the
// kernel has what it does, and not if the client was gone by then: so that a
// client's failures can be held against the counts one by one. A reset instead
// of a greeting can be fast enough to meet the client in connect.
//
// The three states at connect (refuse, black_hole, down) are of the address;
// only the kernel knows whom they met, but for sessions that down resets.
//
// A script, and the same for one line of a command:
//
//	faults:
//	  - {relay: b, greeting: 421, at: 10s, for: 20s}     # b: greeting=421 at=10s for=20s
//	  - {relay: a, connect: refuse, at: 5s, for: 2s, every: 30s}
//	  - {content: "451 4.3.0 try later", probability: 5%}
//	  - {data: reset, times: 3}
//	  - {greeting: 2s}                                   # comes late
//	  - {quit: close, delay: 500ms}
//	  - {content: reset, kept: true}                     # RFC 1047: taken, but the client cannot know
//
// # What it does not do
//
// It keeps no mail, does not relay, and asks nobody for a password. It is no
// model of a relay's speed: unless told to wait it answers at once. Linux only.
//
// dialogue is the protocol without a connection; loop and stream drive it.
package sink
