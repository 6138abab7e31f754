//go:build deb

package deb

import (
	"net/netip"
	"strings"
	"testing"

	"smtplb/internal/smtptest"
)

// The unit that announces the VIP by BIRD withdraws it before smtplb stops, comes with
// it, and can be killed without a withdrawal. (BIRD itself is e2e's.)
func (s *site) announced(t *testing.T) {
	const unit = "smtplb-announce.service"
	if got := strings.TrimSpace(s.refuse("systemctl", "is-enabled", unit)); got != "disabled" {
		t.Errorf("the package has it %s: want it for whoever enables it", got)
	}
	if out := s.run("systemd-analyze", "verify", "--man=no", unit); out != "" {
		t.Errorf("the unit: %s", out)
	}
	address := netip.MustParseAddrPort(vip).Addr().String()
	up := func() bool {
		return strings.Contains(output(t, "ip", "-o", "address", "show", "dev", "lo", "dynamic"), " "+address+"/32 ")
	}
	defer func() {
		s.run("systemctl", "disable", "--now", unit)
		output(t, "ip", "address", "add", address+"/32", "dev", "lo") // as it was
	}()
	s.run("systemctl", "enable", "--now", unit)
	smtptest.Eventually(t, patience, up, "the VIP is up for a while")

	s.run("systemctl", "kill", "--signal=KILL", unit)
	smtptest.Eventually(t, patience, func() bool {
		return strings.Count(s.run("journalctl", "--unit="+unit, "--output=cat", "--no-pager"), "announced: ["+address+"]") == 2
	}, "it is started again")
	if !up() {
		t.Error("the VIP went with the process")
	}

	s.run("systemctl", "stop", "smtplb")
	if up() {
		t.Error("the VIP is up, and smtplb is stopped")
	}
	said := s.run("journalctl", "--unit=smtplb", "--unit="+unit, "--output=cat", "--no-pager")
	withdrawn, draining := strings.LastIndex(said, "withdrawn: stopped"), strings.LastIndex(said, `"msg":"draining"`)
	if withdrawn < 0 || draining < withdrawn {
		t.Errorf("not withdrawn, and then drained:\n%s", said)
	}
	s.run("systemctl", "start", "smtplb")
	smtptest.Eventually(t, patience, up, "the VIP is up again with smtplb")
	if err := visit(allowed, "announced"); err != nil {
		t.Error(err)
	}
}
