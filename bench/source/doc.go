// Package source is a crowd of SMTP clients: it sends mail to one or several
// targets, measures each step of each session, and reports what the clients
// saw, in a [result.Run].
//
//	run, err := source.Run(ctx, source.Config{
//		Targets:  []string{"127.0.0.1:2525"},
//		Rate:     200, // sessions a second, come what may
//		Duration: time.Minute,
//	})
//
// # Two models
//
// With [Config.Concurrency] the crowd is closed: so many clients, each of which
// begins its next session when its last one is over. A target that stalls for a
// second then gets no new session for a second, and of all the clients that
// would have suffered only a handful are measured. That is coordinated
// omission: the source goes along with the target's pauses, and the percentiles
// look better than what people would have met.
//
// With [Config.Rate] it is open: sessions are due at times that are fixed before
// the run, evenly or as a Poisson process, and each begins when it is due, in a
// goroutine of its own, whatever the others wait for. Its latencies count from
// when it was due, so that neither the target's stall nor a source that was too
// slow can hide.
//
// # What is measured
//
//	connect   until the connection is there
//	greeting  until the greeting's last line; includes connect
//	tls       the handshake, where there was one
//	command   each command until its reply; commands that are sent together
//	          (RFC 2920) count as one, until the last of their replies
//	message   from MAIL until the reply to the content
//	session   until the reply to QUIT
//	schedule  open model: how late the source itself was to begin
//
// In the open model connect, greeting and session count from when the session
// was due, and so contain schedule; tls, command and message count from their
// own beginning in either model. Commands count when they were answered, all
// else when it succeeded; what failed is in the list of failures, by class,
// step and the reply that the client saw.
//
// # Messages
//
// Each has an identity and a checksum, see package mail. A message is accepted
// by the 2xx after its content. If the connection breaks between its last octet
// and that reply, nobody can say whether the target has it (RFC 1047): it is
// unsure. With [Config.Retry] a message that was not accepted is tried again in
// another session, as an MTA would; a 5xx to its envelope or content is final.
// That session is beside the schedule of the open model, and its latencies count
// from its own beginning. Messages are counted by the end of their last try,
// failures and the Ledger have every try.
//
// # What it does not do
//
// It resolves a name once, verifies no certificate (as opportunistic TLS between
// MTAs does not), and knows no authentication.
package source
