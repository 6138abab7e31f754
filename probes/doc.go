// Package probes asks relays, before clients do, whether they would take a
// session: active health checks, and their schedule.
//
// A check is a function. [SMTP] connects, reads the whole greeting, says EHLO
// and QUIT, and leaves without a reset; [SMTPS] does so inside TLS (port 465);
// [TCP] only connects and leaves. Between EHLO and QUIT a [Target] may have the
// relay do more: STARTTLS, and take a sender and a recipient, but no message.
// One check, as a person would make it:
//
//	r := probes.SMTP(ctx, probes.Target{Name: "relay-a", Address: "192.0.2.11:25"})
//	fmt.Println(r)              // ok in 3ms, or: greeting: 421 4.3.2 try later
//	for _, line := range r.Dialogue {
//		fmt.Println(line)       // 2ms < 220 relay-a.example ESMTP
//	}
//
// A [Scheduler] makes one kind of check of many relays, each again and again,
// at one pace; a pool has one of its own:
//
//	s := &probes.Scheduler{
//		Check:  probes.SMTP,
//		Report: func(t probes.Target, r probes.Result) { fmt.Println(t.Name, r.Reason()) },
//	}
//	err := s.Set(targets...)    // again after a reload; what stayed keeps its turn
//	err = s.Run(ctx)            // until ctx ends
//	s.Hurry("relay-a")          // a live session failed there: look now
//
// What is polite to a mail server is done because their logs are read: nothing
// is said before the greeting is over (postscreen counts that as a spammer's
// haste), nothing is pipelined, QUIT is said and its 221 awaited, TLS is ended
// with a close_notify, and no connection ends in a reset.
// A greeting of many lines is a greeting, and one may take 6 seconds, as
// postscreen's do.
//
// The package decides nothing. Whether three failures take a relay down, and
// two good checks bring it back, is the receiver's business (package balancer);
// no result is logged, counted or kept here.
package probes
