// Package sim runs the balancer at a scale that no machine at hand has: a thousand balancers and ten thousand relays for a day
// of mail, with a site failure in it, in simulated time.
//
//	smtpbench sim                              # the default fleet: a minute of CPU
//	smtpbench sim --fail-as greeting_timeout   # the site does not refuse, it is silent
//	smtpbench sim --keep-warm 5%               # less for the standby
//	smtpbench sim --json >day.json
//	smtpbench sim ecmp                         # balancers that share one address: see SpreadConfig
//
// or from Go:
//
//	report, err := sim.Run(ctx, sim.Default())
//	...
//	err = report.WriteText(os.Stdout)
//
// What is measured is package balancer, the real one: every session is an Acquire, an Established or a Fail, and a Release, every
// check a Probe. Pools are configured as the product's are by default, but for the share of the standby. All the rest is a model, which does no I/O and reads no clock, and draws its random numbers from the seed. The
// report is the same for the same Config, whatever the number of CPUs; on another processor architecture the last digits of a
// float may differ.
//
// # The model
//
// The fleet: two sites (or more) with relays of weights 1 to 5 and as many balancers each. A balancer takes the mail of one to
// four Exchange servers; its pool has relays of its own site with priority 0, more of them the more servers it has, and a
// few of the next site with priority 1. A relay is in three pools of its own site and in one of the other, so that its load
// is a sum over balancers that know nothing of each other.
//
// The mail: sessions arrive as a Poisson process that follows an office's day. A session is 1 to 20 messages, each of a
// lognormal length, 2.5 s on average. A server runs at most 20 at once; more have to wait for one of those to end. One that reads a
// 421 parks its whole queue for a minute. What mail there is does not depend on what the balancer does with it.
//
// The faults: at 10:00 every relay of one site begins to fail, new sessions and checks alike, for two hours. Besides, one relay in
// twenty fails for a while by itself, in any of the ways that a relay can. A session that fails asks the next relay, as in
// proxy, until timeouts.session_setup is over; one whose relay says nothing asks a second one beside it when the balancer's
// patience with that relay is over, and a third in place of the first when both are late, as long as not more than a tenth of
// the balancer's sessions do so. A well relay takes its time to greet too,
// each its own, so that there are habits to learn. A failed session has the relay checked at once. A relay that greets with a
// 4xx code does so with 421, sessions and checks alike. Timeouts and the pace of checks are the product's defaults. Sessions
// under way go on: with those a balancer has nothing to do any more.
//
// # The measures
//
// Weight alone is the standard: for every session, each relay of the session's tier that the balancer held for up at the time is
// owed the part that is its weight's. What relays got is compared with the sum of what they were owed, so a relay that was
// down for an hour is owed nothing for that hour.
//
//   - Share error: of a balancer and tier, by how much its worst relay is off, as a part of the tier's sessions and in
//     sessions. A tier with fewer than 100 sessions does not count.
//   - Relay load error: of a relay, by how much the sessions of all balancers together are off what it was owed, as a part of that.
//   - Imbalance: of a relay and minute, the sessions that it ran, on average over the minute, by its weight, as a multiple of
//     the same for all relays of its site that work. Only where the mean gives the relay two sessions or more: one session
//     too many is nothing to tell where there is one. Beside it stands what perfect shares would have come to: pools are dealt by
//     chance and differ in how much mail they have for their weight, which no balancer can help. The rest is that
//     sessions differ in length.
//   - Warm share: the part of the sessions that the standby carries to be kept warm, against the configured one: over the
//     day, and over any 200 sessions in a row. Of the sessions that begin while the own site is in use and a relay of the standby
//     is up.
//   - Setup: from a session's start until a relay has greeted it. The first minute of the failure is told apart.
//   - Time to shift: from the start of the failure until the last session asked a relay of the failed site, until new
//     sessions went to the standby, and until none of the site's relays was up. Time to fail back: from its end until the last
//     session was given to the standby, those apart that keep it warm, until new sessions went to their own site, and until
//     all relays of it were up again.
//   - Failed sessions: no relay was found, so the client read a 421.
//
// # What it does not do
//
// A relay's load does not slow it down, balancers do not restart, and a check of a well relay takes no time. While nothing is
// amiss or about to come due in a pool, its checks are not made, as they change nothing; the tests hold that against a run
// with every one.
package sim
