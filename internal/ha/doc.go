// Package ha writes what two balancers need to share their addresses: a
// keepalived.conf made of smtplb's own listeners, and the number by which
// keepalived compares two nodes.
//
//	vips, err := ha.VIPs(listeners)
//	node := ha.Node{VIPs: vips, Interface: "eth0", Peer: peer, ...}
//	text, err := node.Keepalived()
//
// It reads and runs nothing: a node in, text out. What the text means for mail
// is in docs/ha.md.
package ha
