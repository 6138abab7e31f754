package main

import (
	"crypto/tls"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"smtplb/internal/config"
	"smtplb/internal/setup"
)

const answersOfA = `
address: 192.0.2.11/24
vip: 192.0.2.25
peer: 192.0.2.12
relays: [10.10.1.11, 10.10.1.12]
allow: [10.10.0.0/16]
`

// setUp runs setup with these answers, below a directory.
func setUp(t *testing.T, into, answers string, more ...string) (status int, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "answers.yaml")
	if err := os.WriteFile(file, []byte(answers), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	std := streams{in: strings.NewReader(""), out: &out, err: &errs}
	status = run(t.Context(), append([]string{"setup", "--into", into, "--answers", file}, more...), std, nil)
	return status, out.String(), errs.String()
}

func TestSetupWritesWhatTheAnswersSay(t *testing.T) {
	dir := t.TempDir()
	if status, out, errs := setUp(t, dir, answersOfA); status != exitOK || out != "" || errs != "" {
		t.Fatalf("%d: %s%s", status, out, errs)
	}
	cfg, err := config.Load(filepath.Join(dir, setup.Config), nil)
	if err != nil || len(cfg.Pools[0].Backends) != 2 {
		t.Errorf("%+v, %v", cfg, err)
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(dir, setup.Certificate), filepath.Join(dir, setup.Key)); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]os.FileMode{setup.Config: 0o640, setup.Token: 0o640, setup.Key: 0o640, setup.Done: 0o644, setup.Firewall: 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want || info.Size() == 0 {
			t.Errorf("%s: %v, %v; want %v", name, info, err, want)
		}
	}
	left, err := filepath.Glob(dir + "/etc/*/.setup-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestSetupRefusedWritesNothing(t *testing.T) {
	dir := t.TempDir()
	status, _, errs := setUp(t, dir, strings.Replace(answersOfA, "10.10.0.0/16", "0.0.0.0/0", 1))
	if status != exitError || !strings.Contains(errs, "allow: 0.0.0.0/0: is too much of the Internet") {
		t.Errorf("%d: %s", status, errs)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("written all the same: %v, %v", entries, err)
	}
}

// What people and cloud-init have put there stays.
func TestSetupAgain(t *testing.T) {
	dir := t.TempDir()
	token, config := filepath.Join(dir, setup.Token), filepath.Join(dir, setup.Config)
	if err := os.MkdirAll(filepath.Dir(token), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(token, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const other = "address: 192.0.2.11/24\nrelays: 10.10.1.13\nallow: 10.10.0.0/16\n"
	for _, answers := range []string{answersOfA, other, answersOfA} {
		if status, _, errs := setUp(t, dir, answers); status != exitOK {
			t.Fatalf("%d: %s", status, errs)
		}
	}
	if text, err := os.ReadFile(token); err != nil || string(text) != "mine\n" {
		t.Errorf("the token is %q, %v", text, err)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(text), "10.10.1.12", "10.10.1.99", 1)
	if err := os.WriteFile(config, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := setUp(t, dir, other); status != exitError || !strings.Contains(errs, "has been edited since it was set up") {
		t.Errorf("%d: %s", status, errs)
	}
	if text, err := os.ReadFile(config); err != nil || string(text) != edited {
		t.Errorf("what was edited is gone: %v", err)
	}
	if status, _, errs := setUp(t, dir, other, "--force"); status != exitOK {
		t.Errorf("%d: %s", status, errs)
	}
}

// What a power cut leaves between smtplb.yaml and the answers is nobody's edit: the
// same answers once more finish it, without --force.
func TestSetupAgainCutInTheMiddle(t *testing.T) {
	const other = "address: 192.0.2.11/24\nrelays: 10.10.1.13\nallow: 10.10.0.0/16\n"
	dir, whole := t.TempDir(), t.TempDir()
	setUp(t, dir, answersOfA)
	setUp(t, whole, other)
	written, err := os.ReadFile(filepath.Join(whole, setup.Config))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, setup.Config), written, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := setUp(t, dir, other); status != exitOK {
		t.Errorf("%d: %s", status, errs)
	}
	answers, err := os.ReadFile(filepath.Join(dir, setup.Done))
	if err != nil || !strings.Contains(string(answers), "10.10.1.13:25") {
		t.Errorf("%s, %v", answers, err)
	}
}

// What comes of a file is to be seen on any machine, whatever its network cards are:
// an appliance's are eth0, eth1 and so on.
func TestSetupElsewhereKnowsTheAppliancesCards(t *testing.T) {
	for card, line := range map[string]string{"eth0": "", "eth1": "interface: eth1\n"} {
		dir := t.TempDir()
		if status, _, errs := setUp(t, dir, answersOfA+line); status != exitOK {
			t.Fatalf("%s: %d: %s", card, status, errs)
		}
		text, err := os.ReadFile(filepath.Join(dir, "etc", "systemd", "network", "05-smtplb.network"))
		if err != nil || !strings.Contains(string(text), "Name="+card+"\n") {
			t.Errorf("%s: %s, %v", card, text, err)
		}
	}
	if status, _, errs := setUp(t, t.TempDir(), answersOfA+"interface: wlan0\n"); status != exitError || !strings.Contains(errs, "must be one of the appliance's: eth0, eth1") {
		t.Errorf("%d: %s", status, errs)
	}
	if status, _, errs := setUp(t, t.TempDir(), "relays: 10.10.1.11\nallow: 10.10.0.0/16\n"); status != exitError || !strings.Contains(errs, "address: required") {
		t.Errorf("with an address of this machine: %d: %s", status, errs)
	}
}

func TestMachineNow(t *testing.T) {
	m, err := machineNow()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range m.Interfaces {
		if card, err := net.InterfaceByName(i.Name); err != nil || card.Flags&net.FlagLoopback != 0 {
			t.Errorf("%s: %+v, %v", i.Name, card, err)
		}
	}
}

// A dialogue that ends in the middle leaves nothing: the next one starts over.
func TestSetupCutInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	var out, errs strings.Builder
	std := streams{in: strings.NewReader("lb-a\n"), out: &out, err: &errs}
	if status := run(t.Context(), []string{"setup", "--into", dir}, std, nil); status != exitError || !strings.Contains(errs.String(), "nothing was written") {
		t.Errorf("%d: %s", status, errs.String())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("written: %v, %v", entries, err)
	}
}

// keepalived takes the VIP along when it ends. Where the other appliance is given up,
// it has ended before the network brings the VIP, or nobody would have it.
func TestSetupWithoutAPeerStopsKeepalivedFirst(t *testing.T) {
	at := func(all [][]string, what string) int {
		return slices.IndexFunc(all, func(c []string) bool { return strings.HasPrefix(strings.Join(c, " "), what) })
	}
	alone := &setup.Answers{Hostname: "lb-a", Interface: "eth0"}
	all := commands(alone)
	if stop, network := at(all, "systemctl stop keepalived"), at(all, "networkctl reconfigure eth0"); stop < 0 || network < stop {
		t.Errorf("stopped at %d, the network at %d: %q", stop, network, all)
	}
	pair := &setup.Answers{Hostname: "lb-a", Interface: "eth0", Peer: netip.MustParseAddr("192.0.2.12")}
	all = commands(pair)
	if start, network := at(all, "systemctl --no-block reload-or-restart keepalived"), at(all, "networkctl reconfigure eth0"); start < network || network < 0 {
		t.Errorf("started at %d, the network at %d: %q", start, network, all)
	}
}

func TestOwnFirewallRulesAreLoadedTogether(t *testing.T) {
	dir := t.TempDir()
	asked := filepath.Join(dir, "asked")
	nft := "#!/bin/sh\necho \"$@\" >>" + asked + "\n[ ! -e " + dir + "/wrong.nft ] || { echo wrong.nft:1:1: syntax error >&2; exit 1; }\n"
	if err := os.WriteFile(filepath.Join(dir, "nft"), []byte(nft), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	load := func() error { return loadOwnRules(t.Context(), filepath.Join(dir, "*.nft")) }
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := load(); err != nil {
		t.Errorf("none: %v", err)
	}
	if _, err := os.Stat(asked); err == nil {
		t.Error("nft is asked to load nothing")
	}
	write("a.nft")
	write("b.nft")
	if err := load(); err != nil {
		t.Errorf("two files: %v", err)
	}
	if text, err := os.ReadFile(asked); err != nil || string(text) != "-f "+setup.OwnRulesLoader+"\n" {
		t.Errorf("nft was asked %q, %v", text, err)
	}
	write("wrong.nft")
	if err := load(); err == nil || !strings.Contains(err.Error(), "wrong.nft:1:1: syntax error") {
		t.Errorf("a mistake: %v", err)
	}
}

func TestSetupIsForAppliances(t *testing.T) {
	var out, errs strings.Builder
	std := streams{in: strings.NewReader(""), out: &out, err: &errs}
	if status := run(t.Context(), []string{"setup"}, std, nil); status != exitError || !strings.Contains(errs.String(), "not an smtplb appliance") {
		t.Errorf("%d: %s", status, errs.String())
	}
}
