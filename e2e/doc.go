// Package e2e has no code, only tests that meet smtplb as its users do: they
// write a configuration file, start the program, speak SMTP to it over real
// sockets, stop and break the relays behind it, and read its log.
//
//	p := start(t, site{backends: []string{backend("relay-a", relay.Addr())}})
//	client := smtptest.Dial(t, p.address)
//	...
//	session := p.sessions(t, 1)[0]
//
// The program is built with the race detector, and a report of it fails the
// test that it comes up in; where memory is measured it is built as released.
// Relays and clients are those of internal/smtptest where they must do
// something unusual, and Postfix's smtp-sink and smtp-source or swaks where it
// matters that they were written by somebody else.
//
// What is claimed are counts, bytes, states and bounds on resources. How fast
// it goes is for benchmarks.
package e2e
