package ha

import (
	"fmt"
	"net/netip"
	"strings"
)

// Handover is a file for nft(8) by which a balancer passes on packets of sessions
// that it does not have, to one that is named while it drains: the routers have
// sent them here since that one is announced no more. The device is where the
// balancers reach each other, on one link. The error names every mistake.
func Handover(vips []netip.Addr, device, config string) (string, error) {
	errs := append(checkVIPs(vips), checkConfig(config))
	if !isDevice(device) {
		errs = append(errs, fmt.Errorf("interface %q: must be the name of a network interface, such as eth0", device))
	}
	if err := joined(errs); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, handoverHead, config)
	for _, f := range []struct{ channel, table string }{{"ipv4", "ip"}, {"ipv6", "ip6"}} {
		var set []string
		for _, v := range vips {
			if channel(v) == f.channel {
				set = append(set, v.String())
			}
		}
		if len(set) > 0 {
			fmt.Fprintf(&b, handoverTable, f.table, f.channel, strings.Join(set, ", "), device)
		}
	}
	return b.String(), nil
}

const handoverHead = `#!/usr/sbin/nft -f
# Written by smtplb ha bird handover of %s.
# After a change of the listeners' addresses, write it again.
#
# Sessions of a balancer that drains go on: the routers send their packets to the
# others, who know of no such session (net.netfilter.nf_conntrack_tcp_loose=0) and pass
# them on to it. Who drains is put in the map meanwhile, on all the others:
#
#   nft add element ip smtplb_handover drained '{ VIP timeout 30m : ITS-OWN-ADDRESS }'
#
# Load it when the machine starts: what was begun before is not known either.
`

const handoverTable = `
table %[1]s smtplb_handover
delete table %[1]s smtplb_handover
table %[1]s smtplb_handover {
    map drained {
        type %[2]s_addr : %[2]s_addr
        flags timeout
    }
    chain prerouting {
        type filter hook prerouting priority filter
        %[1]s daddr { %[3]s } meta l4proto tcp ct state invalid dup to %[1]s daddr map @drained device "%[4]s" drop
    }
}
`
