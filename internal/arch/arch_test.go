package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "smtplb"

// arrow forbids imports. Packages are named by their path in this module, or
// by a whole import path for others; a name covers what lies below it. Two
// names stand for groups: "ours" is every package of this module, "theirs"
// every package that is neither ours nor the standard library's.
type arrow struct {
	from   []string // who must not import; empty: anybody
	to     []string // what must not be imported
	except []string // parts of to that are allowed all the same
	unless []string // parts of from that are exempt
	tests  bool     // holds for test files too
	deps   bool     // holds for what the imports import, all the way down
	reason string
}

var arrows = []arrow{
	{
		from: []string{"balancer"}, to: []string{"ours", "theirs"}, except: []string{"balancer"},
		reason: "choices stand alone, so that hours of failover run in a microsecond test",
	},
	{
		from: []string{"balancer"}, to: []string{"net", "os", "syscall", "log"}, except: []string{"net/netip"},
		reason: "a choice does no I/O: bytes and descriptors belong to proxy",
	},
	{
		from:   []string{"proxy"},
		to:     []string{"internal/config", "internal/admin", "probes", "go.uber.org/zap", "github.com/knadh/koanf", "github.com/spf13/cobra"},
		deps:   true,
		reason: "another Go program embeds proxy without the config file, the admin server or a logger",
	},
	{
		from: []string{"proxy"}, to: []string{"theirs"},
		except: []string{"github.com/pires/go-proxyproto", "golang.org/x/sys", "github.com/gaissmai/bart"},
		reason: "the data path is our own; of libraries it takes the PROXY codec, the system calls and the table of prefixes",
	},
	{
		from: []string{"proxy"}, to: []string{"probes"}, tests: true,
		reason: "proxy and probes never see each other; cmd/smtplb wires them",
	},
	{
		from: []string{"probes"}, to: []string{"proxy"}, tests: true, deps: true,
		reason: "proxy and probes never see each other; cmd/smtplb wires them",
	},
	{
		from: []string{"probes"}, to: []string{"ours"}, except: []string{"probes", "balancer", "internal/egress"},
		reason: "a probe is a dialogue and its schedule; of ours it shares only the outcome words, and the way to a relay",
	},
	{
		from: []string{"probes"}, to: []string{"theirs"}, except: []string{"github.com/pires/go-proxyproto", "golang.org/x/sys"},
		reason: "results leave probes by a func field; logging and configuration are the caller's",
	},
	{
		from: []string{"internal/config"}, to: []string{"ours"},
		except: []string{"internal/config", "proxy", "balancer", "probes", "internal/admin"},
		reason: "configuration fills the Config types of these packages and knows nothing else",
	},
	{
		from: []string{"internal/config"}, to: []string{"theirs"},
		except: []string{"github.com/knadh/koanf", "github.com/go-viper/mapstructure", "go.yaml.in/yaml"},
		reason: "reading the file needs koanf and what it stands on; nothing is logged or run from here",
	},
	{
		to:     []string{"github.com/knadh/koanf", "github.com/go-viper/mapstructure"},
		unless: []string{"internal/config"}, tests: true,
		reason: "the configuration's format is internal/config's secret",
	},
	{
		to: []string{"github.com/spf13/cobra"}, unless: []string{"cmd"}, tests: true,
		reason: "the command line is cmd's",
	},
	{
		from: []string{"internal/egress", "internal/epoll", "internal/timerwheel", "internal/smtptest", "internal/handover"},
		to:   []string{"ours"}, except: []string{"internal/egress", "internal/epoll", "internal/timerwheel", "internal/smtptest", "internal/handover"},
		reason: "mechanisms lie under the others and know none of them",
	},
	{
		from: []string{"internal/egress", "internal/epoll", "internal/timerwheel"}, to: []string{"theirs"}, except: []string{"golang.org/x/sys"},
		reason: "a mechanism needs the kernel and nothing else",
	},
	{
		to: []string{"github.com/prometheus"}, unless: []string{"internal/admin"}, tests: true,
		reason: "no metrics library below the admin server: it pulls",
	},
	{
		from: []string{"internal/handover"}, to: []string{"theirs"}, except: []string{"golang.org/x/sys"},
		reason: "one process gives way to another by system calls; what is handed over is the caller's",
	},
	{
		to: []string{"kernel.org/pub/linux/libs/security/libcap", "github.com/landlock-lsm/go-landlock"}, unless: []string{"internal/privilege"}, tests: true,
		reason: "what a process gives up is decided in one place",
	},
	{
		from: []string{"internal/privilege"}, to: []string{"ours"}, except: []string{"internal/privilege"},
		reason: "it takes plain values: what a configuration needs is read by cmd",
	},
	{
		to: []string{"internal/privilege"}, unless: []string{"cmd", "internal/privilege"}, tests: true,
		reason: "only a program gives up what is its process's: packages are used inside others",
	},
	{
		to: []string{"github.com/coreos/go-systemd"}, unless: []string{"cmd"}, tests: true,
		reason: "the service manager is the command's business: packages are used without it",
	},
	{
		from: []string{"internal/admin"}, to: []string{"ours"},
		except: []string{"internal/admin", "proxy", "balancer", "probes"},
		reason: "the admin server reads snapshots and has a few verbs; files and logs are cmd's",
	},
	{
		from: []string{"internal/ha"}, to: []string{"ours", "theirs"}, except: []string{"internal/ha"},
		reason: "what keepalived and BIRD read is text made of plain values: where those come from is cmd's",
	},
	{
		from: []string{"internal/ha"}, to: []string{"os", "os/exec", "net", "syscall"}, except: []string{"net/netip"},
		reason: "it reads and runs nothing: a node in, text out",
	},
	{
		from: []string{"internal/vip"}, to: []string{"ours"}, except: []string{"internal/vip"},
		reason: "it gives the kernel addresses: when they should be up is cmd's",
	},
	{
		from: []string{"internal/cluster"}, to: []string{"ours"}, except: []string{"internal/cluster"},
		reason: "what balancers tell each other is plain numbers: what pools make of them is cmd's",
	},
	{
		from: []string{"internal/cluster"}, to: []string{"theirs"}, except: []string{"github.com/hashicorp/memberlist"},
		reason: "news leaves by func fields; logging and metrics are the caller's",
	},
	{
		to: []string{"github.com/hashicorp/memberlist"}, unless: []string{"internal/cluster"}, tests: true,
		reason: "the engine that carries messages is internal/cluster's secret",
	},
	{
		from: []string{"internal/setup"}, to: []string{"ours"}, except: []string{"internal/setup", "internal/ha"},
		reason: "answers in, files out; whether smtplb takes them is asked by cmd, and by the tests",
	},
	{
		from: []string{"internal/setup"}, to: []string{"theirs"}, except: []string{"go.yaml.in/yaml"},
		reason: "answers come in a file, too; everything else is plain values",
	},
	{
		from: []string{"internal/setup"}, to: []string{"os", "os/exec", "syscall"},
		reason: "it reads, writes and runs nothing",
	},
	{
		from: []string{"internal/resolve"}, to: []string{"ours"}, except: []string{"internal/resolve"},
		reason: "what is found in DNS is plain data: what relays are made of it is cmd's",
	},
	{
		from: []string{"internal/resolve"}, to: []string{"theirs"}, except: []string{"github.com/miekg/dns"},
		reason: "answers leave by values and func fields; logging and metrics are the caller's",
	},
	{
		to: []string{"github.com/miekg/dns"}, unless: []string{"internal/resolve"},
		reason: "the DNS library is internal/resolve's secret; tests may be a DNS server with it",
	},
	{
		from: []string{"internal/route"}, to: []string{"ours"}, except: []string{"internal/route"},
		reason: "it asks the kernel and knows nothing of relays: what follows from the answer is cmd's",
	},
	{
		to: []string{"github.com/vishvananda/netlink", "github.com/vishvananda/netns"}, unless: []string{"internal/route", "internal/vip"}, tests: true,
		reason: "how the kernel is asked about routes is internal/route's secret, and how it is given addresses internal/vip's",
	},
	{
		to: []string{"github.com/gaissmai/bart"}, unless: []string{"proxy"},
		reason: "who may connect is decided in one place",
	},
	{
		from: []string{"proxy", "balancer", "probes"}, to: []string{"net/http"}, deps: true,
		reason: "the data path and its policy serve no pages",
	},
	{
		to: []string{"internal/smtptest"}, unless: []string{"internal/smtptest", "bench"},
		reason: "the scriptable relay is for tests; the product must not carry it",
	},
	{
		to: []string{"cmd"}, unless: []string{"cmd"}, tests: true,
		reason: "nothing imports a command: what others need belongs in a package",
	},
	{
		to: []string{"e2e"}, unless: []string{"e2e"}, tests: true,
		reason: "black-box tests are the end of every arrow",
	},
	{
		to: []string{"github.com/chromedp"}, unless: []string{"e2e"}, tests: true,
		reason: "a browser is driven by black-box tests only",
	},
	{
		to: []string{"bench"}, unless: []string{"bench", "cmd/smtpbench"}, tests: true,
		reason: "measuring code is used by smtpbench only",
	},
	{
		from: []string{"e2e"}, to: []string{"ours"}, except: []string{"e2e", "internal/smtptest"}, tests: true,
		reason: "black-box tests see the program as its user does",
	},
	{
		to:     []string{"go.uber.org/goleak", "pgregory.net/rapid", "golang.org/x/time", "testing"},
		unless: []string{"internal/smtptest", "bench"},
		reason: "test libraries stay out of the product",
	},
}

// listed is what the rules need of go list's answer.
type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func TestImportsFollowTheDrawing(t *testing.T) {
	for _, pkg := range list(t) {
		for _, problem := range forbidden(pkg, arrows) {
			t.Error(problem)
		}
	}
}

// The table above is worth what this shows: each arrow catches its trespasser
// and lets the neighbour pass.
func TestForbiddenArrowsAreCaught(t *testing.T) {
	tests := []struct {
		name string
		pkg  listed
		want string // part of the problem; empty: allowed
	}{
		{"balancer may use the standard library", listed{ImportPath: "smtplb/balancer", Imports: []string{"time", "net/netip", "sync"}}, ""},
		{"balancer takes a logger", listed{ImportPath: "smtplb/balancer", Imports: []string{"go.uber.org/zap"}}, "choices stand alone"},
		{"balancer does I/O", listed{ImportPath: "smtplb/balancer", Imports: []string{"net"}}, "does no I/O"},
		{"balancer sees proxy", listed{ImportPath: "smtplb/balancer", Imports: []string{"smtplb/proxy"}}, "choices stand alone"},
		{"balancer's tests may use rapid", listed{ImportPath: "smtplb/balancer", TestImports: []string{"pgregory.net/rapid", "os"}}, ""},
		{"proxy uses its mechanisms", listed{ImportPath: "smtplb/proxy", Imports: []string{"smtplb/balancer", "smtplb/internal/epoll", "github.com/pires/go-proxyproto"}}, ""},
		{"proxy searches prefixes", listed{ImportPath: "smtplb/proxy", Imports: []string{"github.com/gaissmai/bart"}}, ""},
		{"prefixes searched elsewhere", listed{ImportPath: "smtplb/cmd/smtplb", Imports: []string{"github.com/gaissmai/bart"}}, "in one place"},
		{"the product limits by a test library", listed{ImportPath: "smtplb/proxy", Imports: []string{"golang.org/x/time/rate"}}, "data path is our own"},
		{"proxy reaches zap through another", listed{ImportPath: "smtplb/proxy", Deps: []string{"go.uber.org/zap/zapcore"}}, "embeds proxy"},
		{"proxy's tests see probes", listed{ImportPath: "smtplb/proxy", XTestImports: []string{"smtplb/probes"}}, "never see each other"},
		{"probes share the words", listed{ImportPath: "smtplb/probes", Imports: []string{"smtplb/balancer", "net/textproto"}}, ""},
		{"probes see proxy", listed{ImportPath: "smtplb/probes", Imports: []string{"smtplb/proxy"}}, "never see each other"},
		{"config fills its three", listed{ImportPath: "smtplb/internal/config", Imports: []string{"smtplb/proxy", "smtplb/balancer", "smtplb/probes", "github.com/knadh/koanf/v2"}}, ""},
		{"config reaches into a mechanism", listed{ImportPath: "smtplb/internal/config", Imports: []string{"smtplb/internal/epoll"}}, "knows nothing else"},
		{"koanf elsewhere", listed{ImportPath: "smtplb/cmd/smtplb", Imports: []string{"github.com/knadh/koanf/v2"}}, "secret"},
		{"cobra in the command", listed{ImportPath: "smtplb/cmd/smtplb", Imports: []string{"github.com/spf13/cobra", "smtplb/internal/config"}}, ""},
		{"cobra below", listed{ImportPath: "smtplb/internal/admin", Imports: []string{"github.com/spf13/cobra"}}, "cmd's"},
		{"smtptest in a test", listed{ImportPath: "smtplb/proxy", XTestImports: []string{"smtplb/internal/smtptest"}}, ""},
		{"smtptest in the product", listed{ImportPath: "smtplb/cmd/smtplb", Imports: []string{"smtplb/internal/smtptest"}}, "for tests"},
		{"a mechanism looks up", listed{ImportPath: "smtplb/internal/epoll", Imports: []string{"smtplb/proxy"}}, "lie under"},
		{"systemd in the command", listed{ImportPath: "smtplb/cmd/smtplb", Imports: []string{"github.com/coreos/go-systemd/v22/daemon"}}, ""},
		{"systemd below", listed{ImportPath: "smtplb/proxy", Imports: []string{"github.com/coreos/go-systemd/v22/activation"}}, "without it"},
		{"the hand-over takes a logger", listed{ImportPath: "smtplb/internal/handover", Imports: []string{"go.uber.org/zap"}}, "by system calls"},
		{"capabilities elsewhere", listed{ImportPath: "smtplb/proxy", Imports: []string{"kernel.org/pub/linux/libs/security/libcap/cap"}}, "one place"},
		{"privileges that know the configuration", listed{ImportPath: "smtplb/internal/privilege", Imports: []string{"smtplb/internal/config"}}, "plain values"},
		{"the admin server gives up privileges", listed{ImportPath: "smtplb/internal/admin", Imports: []string{"smtplb/internal/privilege"}}, "its process's"},
		{"a command imported", listed{ImportPath: "smtplb/e2e", TestImports: []string{"smtplb/cmd/smtplb"}}, "imports a command"},
		{"e2e drives a browser", listed{ImportPath: "smtplb/e2e", TestImports: []string{"github.com/chromedp/chromedp"}}, ""},
		{"another drives a browser", listed{ImportPath: "smtplb/internal/admin", TestImports: []string{"github.com/chromedp/cdproto/log"}}, "black-box tests only"},
		{"e2e looks inside", listed{ImportPath: "smtplb/e2e", TestImports: []string{"smtplb/balancer"}}, "as its user does"},
		{"smtpbench uses bench", listed{ImportPath: "smtplb/cmd/smtpbench", Imports: []string{"smtplb/bench"}}, ""},
		{"smtplb uses bench", listed{ImportPath: "smtplb/cmd/smtplb", Imports: []string{"smtplb/bench"}}, "smtpbench only"},
		{"the product carries testing", listed{ImportPath: "smtplb/proxy", Imports: []string{"testing"}}, "out of the product"},
		{"a set-up that writes", listed{ImportPath: "smtplb/internal/setup", Imports: []string{"os"}}, "reads, writes and runs nothing"},
		{"a set-up that knows the configuration", listed{ImportPath: "smtplb/internal/setup", Imports: []string{"smtplb/internal/config"}}, "asked by cmd"},
		{"a resolver that knows relays", listed{ImportPath: "smtplb/internal/resolve", Imports: []string{"smtplb/balancer"}}, "plain data"},
		{"a resolver that logs", listed{ImportPath: "smtplb/internal/resolve", Imports: []string{"go.uber.org/zap"}}, "the caller's"},
		{"the DNS library in its place", listed{ImportPath: "smtplb/internal/resolve", Imports: []string{"github.com/miekg/dns"}}, ""},
		{"the DNS library elsewhere", listed{ImportPath: "smtplb/cmd/smtplb", Imports: []string{"github.com/miekg/dns"}}, "secret"},
		{"a DNS server for tests", listed{ImportPath: "smtplb/e2e", TestImports: []string{"github.com/miekg/dns"}}, ""},
		{"balancers that know pools", listed{ImportPath: "smtplb/internal/cluster", Imports: []string{"smtplb/balancer"}}, "plain numbers"},
		{"balancers that log", listed{ImportPath: "smtplb/internal/cluster", Imports: []string{"go.uber.org/zap"}}, "the caller's"},
		{"the engine in its place", listed{ImportPath: "smtplb/internal/cluster", Imports: []string{"github.com/hashicorp/memberlist"}}, ""},
		{"the engine elsewhere", listed{ImportPath: "smtplb/proxy", Imports: []string{"github.com/hashicorp/memberlist"}}, "secret"},
		{"a question to the kernel in its place", listed{ImportPath: "smtplb/internal/route", Imports: []string{"github.com/vishvananda/netlink"}}, ""},
		{"a question to the kernel elsewhere", listed{ImportPath: "smtplb/cmd/smtplb", Imports: []string{"github.com/vishvananda/netlink/nl"}}, "secret"},
		{"a question about relays", listed{ImportPath: "smtplb/internal/route", Imports: []string{"smtplb/proxy"}}, "cmd's"},
		{"a name that only begins alike", listed{ImportPath: "smtplb/balancers", Imports: []string{"net"}}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(forbidden(test.pkg, arrows), "\n")
			if test.want == "" && got != "" {
				t.Errorf("allowed import reported: %s", got)
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("got %q, want a problem with %q", got, test.want)
			}
		})
	}
}

// forbidden returns one line for each import of pkg that an arrow forbids.
func forbidden(pkg listed, arrows []arrow) []string {
	var problems []string
	for _, a := range arrows {
		if len(a.from) > 0 && !covers(a.from, pkg.ImportPath) || covers(a.unless, pkg.ImportPath) {
			continue
		}
		imports := slices.Clone(pkg.Imports)
		if a.tests {
			imports = slices.Concat(imports, pkg.TestImports, pkg.XTestImports)
		}
		if a.deps {
			imports = append(imports, pkg.Deps...)
		}
		slices.Sort(imports)
		for _, imported := range slices.Compact(imports) {
			if covers(a.to, imported) && !covers(a.except, imported) {
				problems = append(problems, fmt.Sprintf("%s must not import %s: %s", pkg.ImportPath, imported, a.reason))
			}
		}
	}
	return problems
}

// covers reports whether path is one of names or lies below one.
func covers(names []string, path string) bool {
	own, ours := strings.CutPrefix(path, module+"/")
	first, _, _ := strings.Cut(path, "/")
	return slices.ContainsFunc(names, func(name string) bool {
		switch name {
		case "ours":
			return ours
		case "theirs": // an import path outside the standard library begins with a domain
			return !ours && strings.Contains(first, ".")
		}
		return own == name || strings.HasPrefix(own, name+"/")
	})
}

// list asks go for every package of the module. With -e it answers for one that
// imports what is not there, too: that is the compiler's to report.
func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var pkgs []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg listed
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		pkgs = append(pkgs, pkg)
	}
	if len(pkgs) == 0 {
		t.Fatal("go list names no package: nothing was checked")
	}
	return pkgs
}
