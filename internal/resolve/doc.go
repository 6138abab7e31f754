// Package resolve finds relays in DNS, and keeps what it found up to date.
//
//	resolver := resolve.NewResolver()
//	watcher := &resolve.Watcher{Lookup: resolver.Lookup, Changed: replan, Tell: log}
//	query := resolve.Query{Kind: resolve.MX, Name: "relays.example.com", Port: 25}
//	watcher.Refresh(ctx, query)             // asks now, and waits for it
//	records, err := watcher.Records(query)  // at any time, from memory
//	go watcher.Run(ctx)                     // asks again as the TTLs say
//
// It is in three layers. A [Resolver] asks servers (exchange.go) and reads what
// they say (reply.go), with /etc/hosts and /etc/resolv.conf beside it (system.go).
// What is made of the targets that it found (order, bounds, weights, what is
// kept of an earlier answer) is plain functions (target.go). A [Watcher] knows
// when to ask again and what was last known (watch.go); it does no I/O of its own.
//
// # What was found is not lost
//
// The last good answer is kept for as long as there is no other one. A timeout,
// SERVFAIL, a name that is suddenly not there, an empty answer and a null MX
// change nothing but what is reported: mail must not stop because of a mistake
// in DNS, and a relay that is truly gone fails its checks. An address goes only
// when a good answer no longer has it. That holds for parts, too: while the
// addresses of one MX target cannot be found out, its last ones stay.
//
// # What is believed
//
// An answer must repeat the ID and the question, and come from the address and
// port that was asked, at a port of ours that the kernel chose at random. Of it, only
// the records at the end of the chain of CNAMEs that begins with the name asked
// for are used. Addresses in the additional section are not: each target is
// looked up for itself. An answer that is cut short is asked for again over TCP.
// DNSSEC is left to the server that is asked.
//
// # The library
//
// Messages are packed and read by github.com/miekg/dns, version 1: CoreDNS and
// much else has stood on it for years. Its author now works on a second version,
// which is at 0.6 and changes each week; this package shows no type of the library,
// so it can be exchanged.
package resolve
