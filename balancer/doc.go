// Package balancer chooses the relay for each session of a pool, and knows which relays are fit to be chosen.
//
// It is policy and nothing else: it opens no connection, starts no goroutine and reads no clock. Every call that may
// depend on the time is given it (now), so hours of failover run in a test that takes a microsecond. All methods of a
// Pool are safe for concurrent use; choosing a backend and counting the session on it are one step under one lock, so a
// burst of connects does not herd onto one relay.
//
// Typical use, one session:
//
//	pool, err := balancer.New(balancer.Config{Name: "outbound", Backends: []balancer.BackendConfig{
//		{Name: "relay-a", Weight: 3},
//		{Name: "relay-b", Weight: 1},
//	}})
//	...
//	lease, err := pool.Acquire(time.Now(), tried) // the slot is taken here
//	...                                           // connect to lease.Backend(), wait for its greeting
//	lease.Fail(time.Now(), balancer.Greeting4xx)  // it would not: note it in tried, Acquire again
//	lease.Established(time.Now())                 // it did: the session runs
//	lease.Release(time.Now())                     // it is over
//
// Active checks report with [Pool.Probe]; people and metrics read [Pool.Snapshot] and [Pool.Tiers]; [Config.OnChange] hears of
// every backend that changes its state, [Config.OnTierChange] of every failover.
//
// # The rule: smooth weighted shares under a least-connections quota
//
// Of the tier in use, take the backends that can be picked: up, weight above 0, below max_sessions, not yet asked by this
// session. Let W be the sum of their weights and n the sum of their running sessions.
//
//   - A backend is eligible if it holds less than its fair part of the running sessions, the new one counted:
//     active/weight < (n+1)/W. At least one always is: if none were, the sum of their sessions would be n+1 or more.
//     (In apportionment this is the quota condition of Balinski and Young's Quota method, 1975.)
//   - Among the eligible the one with the smallest tag wins, the lower index where tags are equal. A tag is the virtual
//     time at which the backend's next session is half done: pass + 1/(2 weight); a pick moves pass on by 1/weight. This
//     is stride scheduling (Waldspurger and Weihl, 1995), and with the half it is the divisor method of Sainte-Laguë.
//
// Plain weighted least connections decides by the sessions that run at this moment. That says nothing at the concurrency
// of a mail server: with one session at a time nothing runs when the next one starts, every choice is a tie, and weights
// 3:1 give 50:50. Plain stride scheduling has the opposite fault: its shares are exact at any concurrency, and it goes on
// giving them to a relay that is slow or hangs, until that relay holds nearly all sessions. Together they have both
// properties:
//
//   - Shares are exact at every concurrency. While sessions last about the same on every relay, each holds about its fair
//     part, the quota seldom binds, and the tags decide, or it binds for a moment, the backend waits with the smallest
//     tag of all and is the next one picked. So the error of a backend's count is a constant number of sessions (one, where
//     all last equally long), not a percentage. Where the quota does bind all the time (the fair parts are whole numbers and every slot is full) it
//     replaces each session that ends by one on the same relay; lengths that are equal only on average then show in the
//     shares, in simulation by less than 2 % for exponential ones.
//   - Slow relays get fewer. A relay that holds its sessions longer fills its quota, and then gets one only as one of its
//     own ends: least connections. One that never lets go ends with its fair part of the slots, rounded up, and not one
//     more, whatever its tag says.
//
// A backend's tag may fall behind, while the quota or max_sessions keeps it out. What it is owed is cut to 16 sessions
// when it is next picked, and to nothing when it was down: a relay that was slow, full or away must not be paid back with
// a burst. A failed attempt is not refunded: a relay that fails is asked in its turn and not by every session, even before
// the failures are enough to call it down.
//
// The comparison with the quota is exact, in integers. Tags are float64: after N picks one pick is rounded by at most
// N/2^52 of a session, so after 10^12 picks, a thousand a second for thirty years, shares are still right to 0.03 %.
//
// # The choice in memory
//
// Each tier keeps the backends that can be picked in an order, with their sums n and W. Up to 48 it is a row that is looked
// through from end to end, which for as many relays as a site has is the fastest there is. Above that it is a tree by tag,
// each node of which knows the least load below it: the first backend under the quota is found in one descent, and a session
// that ends changes loads, but nobody's place. Acquire and Release take O(log n) in the number of backends, Established
// takes no lock, and none of them allocates.
//
// # Tiers
//
// Backends of the same Priority are a tier, and shares hold within a tier. One tier is in use (failover.go): it is left when
// fewer than MinHealthy of its backends are up, and one that is to be used before it takes over again when it has been usable for
// the whole FailbackDelay, so that a site that comes and goes does not drag the sessions along. While all backends of the tier
// in use are full, or were asked by this session already, the next tier helps out, because the alternative is to turn the
// client away; a session that has asked three relays of a tier goes on to the next one, too.
//
// The next tier down can be kept warm (warm.go): it is given an exact part of the new sessions, by error diffusion. And one that
// was idle when it takes over can be given its sessions slowly (Ramp).
//
// # Health
//
// Every backend starts up: a session asks the next one when a relay does not answer, so optimism costs nothing. From there
// it goes by one state machine, which is a table (machine.go): failed checks take a backend down and good ones bring it back,
// sessions that fail eject it for a time, and a 421 to a check keeps it busy. Checks and sessions are counted apart. The last
// backend of the pool that is up is never ejected: it may be the clients that are wrong, and asking it is no worse than
// not asking. A failed check may take it.
//
// A backend that is not up keeps the count of the sessions that still run on it, and leases taken before stay valid. One that
// comes back begins with a tenth of its weight (slow.go).
//
// # Another configuration
//
// [Pool.Reconfigure] changes weights, limits, tiers and backends while sessions run (reconfigure.go). Sessions and probes name a
// backend by its ID, which is never another one's; its slots, its evidence and its turn are the slot's, not the name's.
//
// # Another process
//
// [Pool.Save] returns what people and the traffic have established, as plain values, and [Pool.Restore] has the pool of another
// process go on from there: states with their reasons and times, the evidence for the next ones, the tier in use, whose turn it
// is, what is owed to the standby, habits. Leases stay behind: sessions are counted where they run.
//
// What a relay's greetings usually take is known here as well (habit.go), and with it when a second relay should be asked.
//
// # Other balancers
//
// A pool may be one of several that give sessions to the same relays (Together). Of each limit it then has a part of its share, until
// [Pool.SetQuotas] says what was agreed on (quota.go); and what others have given to a tier counts here too, by [Pool.Elsewhere]. Who
// agrees, and how, is not known here: the pool gets numbers, each with the time until when it holds.
//
// # What it does not do
//
// It does not connect, probe, look up names or log, and it does not remember clients: two sessions of one client are
// two sessions.
package balancer
