package ha

import (
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// The election. Both nodes begin with the same priority, and one that reaches
// fewer relays than the other has a lower one. A preferred node has one point
// more, which is less than a relay's. High numbers, because a node waits the
// shorter for its turn the higher its priority: (256-priority)/256 of an
// interval.
const (
	basePriority = 240
	perRelay     = 2 // points
	maxHandicap  = 100

	advertise = 200 * time.Millisecond

	// keepalived before 2.4 starts a script at most once a second. So a check looks
	// on for the most of one.
	look = 850 * time.Millisecond
)

// Handicap is the number for the track file of a node that cannot reach so many
// relays: 0, or below it.
func Handicap(unreached int) int { return -min(max(unreached, 0), maxHandicap) }

// Keepalived is the whole keepalived.conf of this node. The error names every
// mistake in the fields.
func (n *Node) Keepalived() (string, error) {
	if err := n.check(); err != nil {
		return "", err
	}
	v := struct {
		*Node
		Priority, PerRelay int
		Advertise, Look    string
		Delay, Advertised  string
		Others             []string
	}{
		Node: n, Priority: basePriority, PerRelay: perRelay,
		Advertise: seconds(advertise), Look: look.String(), Delay: seconds(n.RelayDelay),
	}
	if n.Preferred {
		v.Priority++
	}
	for _, vip := range n.VIPs {
		entry := fmt.Sprintf("%s/%d dev %s", vip, vip.BitLen(), n.Interface)
		if n.sameFamily(vip) && v.Advertised == "" {
			v.Advertised = entry
		} else {
			v.Others = append(v.Others, entry)
		}
	}
	t, err := template.New("keepalived.conf").Parse(keepalivedConf)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, v); err != nil {
		return "", err
	}
	return b.String(), nil
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

const keepalivedConf = `# keepalived.conf(5), written by smtplb ha keepalived of {{.Config}}.
# After a change of the listeners' addresses, write it again.
#
# On the other node it is the same but for {{if .Self.IsValid}}unicast_src_ip, {{end}}unicast_peer and, where one of
# the two is preferred, priority.

global_defs {
    script_user root
    enable_script_security       # root runs no program that others may write to
    vrrp_version 3               # intervals below a second
    vrrp_priority -20            # a busy machine must not be taken for a dead one
    vrrp_check_unicast_src       # hear nobody but the peer
    vrrp_garp_master_refresh 60  # who missed the news hears it again
}

# Asks smtplb, for most of each second: it fails at once where smtplb is gone or
# drains, and after two seconds where it does not answer. Relays that are down
# are no failure: the other node sees the same, and somebody must tell the clients.
vrrp_script smtplb {
    script "{{.Command}} ha check --config {{.Config}} --track-file {{.TrackFile}} --for {{.Look}}"
    interval 1
    timeout 4
    rise 2
    fall 1
}

# The same check leaves here how many relays this node cannot reach, as a
# negative number. Each takes {{.PerRelay}} points from the priority.
track_file smtplb_relays {
    file "{{.TrackFile}}"
    weight {{.PerRelay}}
    init_file 0 overwrite
}

vrrp_instance smtplb {
    # Both nodes begin as BACKUP with the same priority: whoever has the VIPs
    # keeps them, and a node that comes back does not take them away. (Not
    # nopreempt: then a node that reaches no relay would keep them, too.)
    state BACKUP
    interface {{.Interface}}
    virtual_router_id {{.RouterID}}
    priority {{.Priority}}
    advert_int {{.Advertise}}
    # How long this node must have been the better one, by its relays, before it
    # takes the VIPs from one that works. Not for one that is gone.
    preempt_delay {{.Delay}}
{{- if .Self.IsValid}}
    unicast_src_ip {{.Self}}
{{- end}}
    unicast_peer {
        {{.Peer}}
    }
    virtual_ipaddress {
        {{.Advertised}}
    }
{{- if .Others}}
    # Move with it, but the nodes do not tell each other of these: a node ignores the
    # other while their lists are different, as when one has been reloaded.
    virtual_ipaddress_excluded {
{{- range .Others}}
        {{.}}
{{- end}}
    }
{{- end}}
    track_script {
        smtplb
    }
    track_file {
        smtplb_relays
    }
}
`
