// Package chaos has no code, only a test: it lets the real program carry mail for
// as long as it is told, while everything around it goes wrong, and counts.
//
//	make chaos                          two minutes, a seed of its own
//	make chaos SEED=7 FOR=2h            what the seed 7 does in two hours
//	make chaos FOR=1m RACE=1            the program under the race detector
//
// Network namespaces are the machines: clients, the balancer, and two sites of
// relays, each relay on a link of its own. A plan (plan_test.go) is made of the seed
// and of the time alone: what happens, when, to whom, for how long. inject_test.go
// carries it out, sender_test.go and nuisance_test.go are the clients, relay_test.go
// the relays, each a process that can be killed and hung.
//
// What every client met and every relay took is written down as it happens, and
// verdict_test.go holds the two against each other: each message that a client was
// told is accepted is at a relay, whole, and once. A session that broke, a reply
// that refused and a second copy need a fault of the plan that explains them: one
// that was on at that time, of a kind that can do this, at the relay that the
// session was on. What nothing explains is a failure. At the end the program must have
// the memory, the descriptors and the goroutines that it had at the beginning.
//
// A seed repeats what is done to the program, to the millisecond; not in which
// order a busy machine comes to it.
package chaos
