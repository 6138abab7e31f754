// Package cluster has several balancers agree on limits that hold for all of them together: how many sessions a relay takes
// (a Ceiling), and what was given to a tier that is to be kept warm or to be taken up slowly (TierUse).
//
//	node, err := cluster.New(cluster.Config{
//		Bind: bind, Peers: peers, Key: key, Hold: 15 * time.Minute,
//		Read:  func(now time.Time) ([]cluster.Ceiling, []cluster.TierUse) { ... }, // how things are here
//		Apply: func(now time.Time, grants []cluster.Grant, news []cluster.TierNews) map[string]int { ... },
//		Told:  func(e cluster.Event) { ... },
//	})
//	err = node.Open()
//	...
//	node.Close(true)
//
// It is never on a session's path. Five times a second a goroutine of its own reads plain numbers, decides, and has other plain numbers
// hold; between two times, and when it stands still, what was decided holds, until its time is over.
//
// # Ceilings
//
// The sum over all balancers never exceeds a ceiling, in no partition. Each has an equal share of its own, which it may use whoever can be
// reached. What one does not need it lends, for a lease: book.go has the rules and what holds, model_test.go a world of balancers, networks,
// disks and clocks in which they are tried. A message may be lost, late, said twice or out of order; nothing depends on it but when.
//
// # Engine
//
// memberlist (engine.go) carries the messages; docs/cluster.md has the figures by which it was chosen. Whoever does not have the key is not
// heard, and what comes from one who has it is checked (message.go).
//
// # What it does not do
//
// It elects nobody and keeps no log: there is nothing to be decided by a majority, so a minority works as well. It knows nothing of
// pools or relays; keys are names to it.
package cluster
