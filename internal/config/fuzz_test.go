package config_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"smtplb/internal/config"
)

// FuzzParse holds Parse to its promise: one line for each error, or a
// configuration that the rest may rely on.
func FuzzParse(f *testing.F) {
	for _, path := range []string{"testdata/smallest.yaml", "testdata/full.yaml"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "SMTPLB_WORKERS=2\nSMTPLB_POOLS__0__BACKENDS__0__WEIGHT=3")
	}
	f.Add([]byte(base), "SMTPLB_LISTENERS__0__ALLOW=[10.0.0.0/8]\nSMTPLB_POOLS__0__BACKENDS__1__ADDRESS=a:25")
	f.Add([]byte(laughs(9)), "SMTPLB_POOLS=&a [*a]")
	f.Add([]byte("{{},<<}"), "")
	f.Add([]byte("#\n - - QI\xd7"), "SMTPLB_ADMIN__ADDRESS='[::1]:1")
	f.Add([]byte("a:\n.\n-\n"), "SMTPLB_LISTENERS__0__ROUTES__0__FROM__0=1")
	f.Add([]byte("\r\r0"), "0")
	f.Add([]byte("? \ufeff: \ufeff\n"), "SMTPLB_LISTENERS__99999999999999999999=1")
	f.Fuzz(func(t *testing.T, data []byte, variables string) {
		cfg, err := config.Parse("f.yaml", data, strings.Split(variables, "\n"))
		if (cfg == nil) == (err == nil) {
			t.Fatalf("both or neither of a configuration and an error: %v, %v", cfg, err)
		}
		if err == nil {
			checkInvariants(t, cfg)
			return
		}
		errs, ok := errors.AsType[config.Errors](err)
		if !ok || len(errs) == 0 {
			t.Fatalf("got %T: %v", err, err)
		}
		lines := 1
		for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // YAML 1.1, section 5.4
			lines += strings.Count(string(data), end)
		}
		for _, p := range errs {
			if strings.ContainsAny(p.String(), "\n\r\x00") || p.Want == "" || p.Line < 0 || p.Line > lines+1 {
				t.Fatalf("not a clear line: %q", p)
			}
		}
	})
}

func checkInvariants(t *testing.T, cfg *config.Config) {
	t.Helper()
	if len(cfg.Listeners) == 0 || len(cfg.Pools) == 0 {
		t.Fatal("no listeners or no pools")
	}
	for _, l := range cfg.Listeners {
		if !l.Address.IsValid() || l.Address.Port() == 0 || l.Name == "" || l.Hostname == "" || len(l.Allow) == 0 {
			t.Fatalf("listener %+v", l)
		}
		for _, p := range append(l.Allow, l.Deny...) {
			if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() && p.Bits() >= 96 {
				t.Fatalf("network %v", p)
			}
		}
		if cfg.Pool(l.Pool) == nil {
			t.Fatalf("no pool %q", l.Pool)
		}
		for _, r := range l.Routes {
			if len(r.From) == 0 || cfg.Pool(r.Pool) == nil {
				t.Fatalf("route %+v", r)
			}
		}
		if strings.ContainsAny(l.Hostname, "\r\n \x00") || l.MaxSessions < 0 || l.MaxSessionsPerClient < 0 {
			t.Fatalf("listener %+v", l)
		}
	}
	for i := range cfg.Pools {
		checkPoolInvariants(t, &cfg.Pools[i])
	}
	if a := cfg.Admin; !a.Address.IsValid() || !a.Address.Addr().IsLoopback() && a.TokenFile == "" ||
		(a.TLS.Cert == "") != (a.TLS.Key == "") {
		t.Fatalf("admin %+v", a)
	}
}

func checkPoolInvariants(t *testing.T, p *config.Pool) {
	t.Helper()
	if p.Name == "" || (len(p.Backends) == 0) == (p.Discover.Kind == "") {
		t.Fatalf("pool %+v", p)
	}
	names := make(map[string]bool)
	for _, b := range p.Backends {
		if b.Name == "" || names[b.Name] || b.Address.Host == "" || b.Address.Port == 0 {
			t.Fatalf("backend %+v", b)
		}
		if b.Weight < 0 || b.Weight > 1000 || b.Priority < 0 || b.MaxSessions < 0 || len(b.Interface) > 15 {
			t.Fatalf("backend %+v", b)
		}
		names[b.Name] = true
	}
	to := p.Timeouts
	if to.Idle < 11*time.Minute || to.Greeting <= 0 || to.Greeting > to.SessionSetup || to.Connect <= 0 ||
		to.Connect > to.SessionSetup || to.Drain < 0 || to.Hedge.After < 0 || to.Hedge.After >= to.Greeting {
		t.Fatalf("timeouts %+v", to)
	}
	if pr := p.Probe; pr.Interval <= 0 || pr.FastInterval <= 0 || pr.Timeout <= 0 || pr.Rise < 1 || pr.Fall < 1 || pr.HELO == "" {
		t.Fatalf("probe %+v", pr)
	}
	if pr := p.Probe; strings.ContainsAny(pr.MailFrom+pr.RcptTo, "\r\n \x00") || pr.RcptTo != "" && pr.MailFrom == "" || pr.STARTTLS && pr.Type != config.ProbeSMTP {
		t.Fatalf("probe %+v", pr)
	}
	if fo := p.Failover; fo.MinHealthy < 1 || fo.KeepWarm.Share < 0 || fo.KeepWarm.Share > 500_000 || fo.Ramp.Start <= 0 {
		t.Fatalf("failover %+v", fo)
	}
}
