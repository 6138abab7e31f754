// Package smtptest is the SMTP relay and the SMTP client of every test in this
// module: a relay that does exactly what a Script says, down to the single
// byte and the single reset, and a client that sees exactly what arrived.
//
//	relay := smtptest.Start(t, smtptest.Script{})
//	client := smtptest.Dial(t, relay.Addr().String())
//	if err := client.Send(smtptest.Outgoing{ID: "m1", Size: 4096}); err != nil {
//		t.Fatal(err)
//	}
//	relay.Stop() // a dead relay: open sessions are reset, new ones refused
//
// A relay can greet with anything, late, byte by byte, half or not at all
// ([Faults] lists the ways by name), ask for a PROXY header, be slow, refuse or
// vanish after the final dot, and hand the bare connection to a function. It
// keeps of each message the envelope, the size and the SHA-256, so that a
// message of 100 MB costs it no memory; a [Ledger] compares them with what was
// sent and names the lost, the duplicated and the corrupted.
//
// [CheckDescriptors] and [Eventually] are what tests of sockets need besides.
//
// It is not a mail server: no TLS, no authentication, no limits, and it trusts
// the tests that use it. It knows nothing of the package under test.
package smtptest

// TB is what the helpers need of a test. [testing.TB] has it, and so has the T
// of a property test. As an interface of our own it keeps package testing out
// of programs that run a Relay for show.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}
