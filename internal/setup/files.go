package setup

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"text/template"

	"smtplb/internal/ha"
)

// Where the files go.
const (
	Config      = "/etc/smtplb/smtplb.yaml"
	Token       = "/etc/smtplb/token" //nolint:gosec // the name of a file
	Certificate = "/etc/smtplb/admin.crt"
	Key         = "/etc/smtplb/admin.key"
	Done        = "/etc/smtplb/appliance.yaml" // the answers; there when all else is
	Firewall    = "/etc/nftables.conf"
	OwnRules    = "/etc/nftables.d/*.nft" // the administrator's own, beside those

	OwnRulesLoader = "/usr/lib/smtplb/own-rules.nft" // includes them all

	networkFile    = "/etc/systemd/network/05-smtplb.network"
	keepalivedFile = "/etc/keepalived/keepalived.conf"
	hostsFile      = "/etc/hosts"
	hostnameFile   = "/etc/hostname"
)

// File is one to be written. A file without text is to be gone.
type File struct {
	Path   string
	Text   string
	Secret bool // for root and smtplb alone to read
}

// Files are all that the answers come to, but for the token and the certificate.
// The last one is Done.
func (a *Answers) Files() ([]File, error) {
	short, _, _ := strings.Cut(a.Hostname, ".")
	names := slices.Compact([]string{a.Hostname, short})
	network := ""
	if !a.Keep {
		network = networkForm
	}
	files := []File{
		{Path: hostnameFile, Text: a.Hostname + "\n"},
		{Path: hostsFile, Text: "127.0.0.1 localhost\n127.0.1.1 " + strings.Join(names, " ") + "\n::1 localhost ip6-localhost ip6-loopback\n"},
		{Path: networkFile, Text: network},
		{Path: Firewall, Text: firewallForm},
		{Path: Config, Text: configForm, Secret: true},
	}
	for i := range files {
		text, err := a.fill(path.Base(files[i].Path), files[i].Text)
		if err != nil {
			return nil, err
		}
		files[i].Text = text
	}
	keepalived, err := a.keepalived()
	if err != nil {
		return nil, err
	}
	return append(files, File{Path: keepalivedFile, Text: keepalived}, File{Path: Done, Text: a.YAML()}), nil
}

// keepalived is its configuration; "" without a peer.
func (a *Answers) keepalived() (string, error) {
	if !a.Peer.IsValid() {
		return "", nil
	}
	node := ha.Node{
		VIPs: []netip.Addr{a.VIP}, Interface: a.Interface, Self: a.Address.Addr(), Peer: a.Peer, RouterID: ha.DefaultRouterID,
		RelayDelay: ha.DefaultRelayDelay, Command: "/usr/bin/smtplb", Config: Config, TrackFile: "/run/smtplb.relays",
	}
	return node.Keepalived()
}

func (a *Answers) fill(name, form string) (string, error) {
	family := func(addr netip.Addr) string {
		if addr.Is4() {
			return "ip"
		}
		return "ip6"
	}
	t, err := template.New(name).Funcs(template.FuncMap{"family": family}).Parse(form)
	if err != nil {
		return "", err
	}
	v := struct {
		*Answers

		Fixed            netip.Prefix // a VIP that nothing moves is one more address of this machine
		Listen, Admin    netip.AddrPort
		Token, Cert, Key string
	}{
		Answers: a, Listen: netip.AddrPortFrom(a.listen(), smtpPort), Admin: netip.AddrPortFrom(netip.IPv6Unspecified(), AdminPort),
		Token: Token, Cert: Certificate, Key: Key,
	}
	if a.VIP.IsValid() && !a.Peer.IsValid() {
		v.Fixed = netip.PrefixFrom(a.VIP, a.VIP.BitLen())
	}
	var b strings.Builder
	if err := t.Execute(&b, v); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return b.String(), nil
}

const networkForm = `# systemd.network(5), written by smtplb setup.
[Match]
Name={{.Interface}}

[Network]
{{- if .DHCP}}
DHCP=yes
{{- else}}
LinkLocalAddressing=ipv6
IPv6AcceptRA=no
Address={{.Address}}
{{- if .Fixed.IsValid}}
Address={{.Fixed}}
{{- end}}
{{- if .Gateway.IsValid}}
Gateway={{.Gateway}}
{{- end}}
{{- range .DNS}}
DNS={{.}}
{{- end}}
# The VIP that keepalived brings stays when networkd is restarted.
KeepConfiguration=yes
{{- end}}
`

const firewallForm = `#!/usr/sbin/nft -f
# nft(8), written by smtplb setup: who is not named here gets no answer. Rules of
# your own last when they are in a file below /etc/nftables.d, such as:
#   add rule inet filter input ip saddr 10.10.0.9 tcp dport 9100 accept
flush ruleset

table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		iif lo accept
		ct state established,related accept
		icmp type echo-request limit rate 50/second accept
		icmpv6 type echo-request limit rate 50/second accept
		icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query } accept
		ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
		# Mail, from those who may send.
{{- range .Allow}}
		{{family .Addr}} saddr {{.}} tcp dport 25 accept
{{- end}}
		# The admin page and SSH, from the management network.
{{- range .Management}}
		{{family .Addr}} saddr {{.}} tcp dport { 22, 9925 } accept
{{- end}}
{{- if .Peer.IsValid}}
		# VRRP, from the other appliance.
		{{family .Peer}} saddr {{.Peer}} meta l4proto vrrp accept
{{- end}}
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
}
`

const configForm = `# Written by smtplb setup; yours from now on. After a change:
#   smtplb check && systemctl reload smtplb
# Every key is in docs/configuration.md. The firewall, /etc/nftables.conf, knows who
# may send, too: for others change both, or run smtplb setup again.
listeners:
  - name: smarthost
    address: "{{.Listen}}"
    pool: outbound
    allow:
{{- range .Allow}}
      - "{{.}}"
{{- end}}

pools:
  - name: outbound
    backends:
{{- range .Relays}}
      - address: "{{.}}"
{{- end}}

admin:
  address: "{{.Admin}}"
  token_file: "{{.Token}}"
  tls:
    cert: "{{.Cert}}"
    key: "{{.Key}}"
`
