// Package ha writes what several balancers need to share their addresses, made of
// smtplb's own listeners: for two of them a keepalived.conf, and the number by which
// keepalived compares the nodes; for more a bird.conf of each, that of their
// routers, and the rules by which sessions outlast a drain.
//
//	vips, err := ha.VIPs(listeners)
//	node := ha.Node{VIPs: vips, Interface: "eth0", Peer: peer, ...}
//	text, err := node.Keepalived()
//
//	speaker := ha.Speaker{VIPs: vips, Self: self, Routers: routers, ...}
//	text, err = speaker.Bird()
//
// It reads and runs nothing: values in, text out. What the text means for mail
// is in docs/ha.md and docs/ecmp.md.
package ha
