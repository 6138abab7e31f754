// Package proxy takes SMTP clients from one address to the right relay, and
// shows a client no fault of a single relay. It is the data path of smtplb and
// can be used without the rest of it:
//
//	pool, err := balancer.New(balancer.Config{Name: "outbound", Backends: []balancer.BackendConfig{
//		{Name: "relay-a", Weight: 2}, {Name: "relay-b", Weight: 1},
//	}})
//	...
//	srv := &proxy.Server{Listeners: []proxy.Listener{{
//		Address: netip.MustParseAddrPort("192.0.2.25:25"),
//		Allow:   []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")},
//		Pool:    &proxy.Pool{Balancer: pool, Targets: []proxy.Target{{Address: a}, {Address: b}}},
//	}}}
//	if err := srv.Listen(); err != nil { ... }
//	err = srv.Serve()
//
// # A session
//
// It travels one way, and each step is a file: accept.go, header.go (PROXY),
// gate.go and rate.go (who is let in),
// attempt.go (a relay is chosen and connected to), greeting.go, hedge.go,
// relay.go and splice.go, end.go. refuse.go has our own replies, drain.go the timeouts and
// the shutdown; running.go lists those that run; session.go has the states and what holds in each.
//
// The relay's whole greeting is read and held. Only a 220 reaches the client,
// verbatim; anything else, or nothing in time, and the next relay is asked,
// each at most once. The client has seen no byte so far and its own bytes are
// still in its socket, so that nothing can be lost. When nobody is left it
// reads 421, which makes every sender keep its mail.
//
// A relay that is late to greet, against its own habit, is not waited for alone:
// a second one is asked beside it, and the first good greeting wins
// (balancer.Config.Hedge). So a relay that fell silent costs its clients about a
// second. At most one session in ten asks two relays at one time.
//
// # Loops
//
// Each worker is a goroutine with one epoll instance, edge-triggered, and
// non-blocking sockets. A session belongs to the loop that accepted it; there is
// no goroutine, no timer and no buffer for each, so that an idle one costs some
// hundreds of bytes. Listening sockets are shared by all
// loops. The balancer's lock is the only one on a session's path.
//
// # Whose turn it is
//
// SMTP is lock-step, and the direction and the time of the last byte tell whose
// turn it is, under TLS too. When a cut is ours to choose, for a timeout or for
// Shutdown, it never meets a session that waits for its relay's reply: the
// relay may have taken the mail already, and the sender would send it again.
//
// # Other listeners and backends
//
// Server.Reload replaces the listeners while sessions run (reload.go), and
// balancer.Pool.Reconfigure the backends, each with its Target as its Data. A
// session goes on with the listener and the pool that it was accepted with.
//
// # Another process
//
// A new process takes the sockets of the old one, and no connection is lost, not
// even one that waits in a queue (handover.go). Sessions stay with the process
// that has accepted them, which ends with the last of them. Each process counts
// its own sessions: for as long as the old one has some, a listener, a client and a
// backend may have more than their limits say, each process up to the limit.
//
// # What it does not do
//
// It does not read the mail, terminate TLS, queue, or watch relays that have no
// session: that is for active checks, which report to the balancer. It runs on
// Linux only.
package proxy
