package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"smtplb/bench/result"
)

// sampleRun looks like a run of that many seconds through a balancer, in the
// middle of which a relay falls silent for a while.
func sampleRun(seconds int) *result.Run {
	random := rand.New(rand.NewPCG(1, 2))
	r := &result.Run{
		Version: "v0.4.0", Started: time.Date(2026, 11, 24, 14, 5, 9, 0, time.UTC), DurationS: float64(seconds), Complete: true,
		Targets: []string{"127.0.0.1:2525"}, Model: "open", RateS: 420, LatencyOf: "intended start",
		Settings: []result.Setting{
			{Name: "rate", Value: "420"}, {Name: "duration", Value: fmt.Sprintf("%ds", seconds)}, {Name: "messages", Value: "1-20"}, {Name: "size", Value: "2KB-40KB"},
			{Name: "connections", Value: "1000"}, {Name: "pipelining", Value: "false"}, {Name: "starttls", Value: "opportunistic"}, {Name: "sink-ledger", Value: "127.0.0.1:9926, 127.0.0.1:9927, 127.0.0.1:9928"},
		},
		Explainers: []string{"In the open model latencies count from when a session was due, so that a stall shows in every session that it held up (no coordinated omission)."},
	}
	for i := range seconds {
		s := result.Second{AtS: float64(i + 1)}
		share := 1.0
		if at := float64(i) / float64(seconds); at > 0.45 && at < 0.6 {
			share = 0.72
			s.Failures = int64(random.IntN(5))
		}
		s.Sessions = int64(420 * share * (0.94 + 0.12*random.Float64()))
		s.Messages = s.Sessions * 4
		s.Bytes = s.Messages * 18000
		s.Open = int64(float64(s.Sessions) * 0.2 / share / share)
		s.GreetingP50 = 0.9 / share * (0.9 + 0.2*random.Float64())
		s.GreetingP99 = s.GreetingP50 * 4
		if share < 1 {
			s.GreetingP99 = 1000 + 80*random.Float64()
		}
		s.MessageP50 = 2.1 / share * (0.9 + 0.2*random.Float64())
		s.MessageP99 = s.MessageP50 * (4 + random.Float64())
		r.Timeline = append(r.Timeline, s)
		r.Sessions.OK += s.Sessions
		r.Sessions.Failed += s.Failures
		r.Messages.Accepted += s.Messages
		r.Messages.Bytes += s.Bytes
	}
	r.Sessions.Started = r.Sessions.OK + r.Sessions.Failed
	r.Sessions.PerS = float64(r.Sessions.OK) / float64(seconds)
	r.Messages.PerS = float64(r.Messages.Accepted) / float64(seconds)
	r.Messages.MBPerS = float64(r.Messages.Bytes) / 1e6 / float64(seconds)
	r.Messages.Unsure, r.Messages.Unsent = r.Sessions.Failed/3, r.Sessions.Failed
	for _, s := range []struct {
		name         string
		count        int64
		middle, tail float64
	}{
		{"connect", r.Sessions.Started, 0.083, 0.55}, {"tls", r.Sessions.Started / 2, 1.7, 0.3}, {"greeting", r.Sessions.Started, 0.92, 1.5}, {"command", r.Messages.Accepted * 3, 0.11, 0.75},
		{"message", r.Messages.Accepted, 2.14, 0.8}, {"session", r.Sessions.OK, 11.3, 0.85},
		{"schedule", r.Sessions.Started, 0.012, 1.4},
	} {
		r.Stages = append(r.Stages, result.Stage{Name: s.name, Latency: sampleLatency(s.count, s.middle, s.tail)})
	}
	if f := r.Sessions.Failed; f > 0 {
		r.Failures = []result.Failure{
			{Class: "reset", Stage: "content", Reply: "read tcp 127.0.0.1:51234->127.0.0.1:2525: connection reset by peer", Count: f - f/3},
			{Class: "greeting_4xx", Stage: "greeting", Reply: "421-mail.example.com is busy\r\n421 4.3.2 no relay is left, session 01JD8Z3K", Count: f / 3},
		}
	}
	r.Integrity = &result.Verdict{Accepted: r.Messages.Accepted, Delivered: r.Messages.Accepted + r.Messages.Unsure/2, Unsure: r.Messages.Unsure}
	return r
}

func sampleLatency(n int64, middle, tail float64) result.Latency {
	at := func(percentile float64) float64 { return middle * math.Exp(tail*nines(percentile, n)*1.1-tail*0.33) }
	l := result.Latency{
		Count: n, MeanMS: middle * 1.2, MinMS: at(0), P50MS: at(50), P90MS: at(90), P99MS: at(99), P999MS: at(99.9), P9999MS: at(99.99), MaxMS: at(100),
	}
	for i := range 100 {
		p := 100 * (1 - math.Pow(10, -float64(i)/16))
		if nines(p, n) >= nines(100, n) {
			break
		}
		l.Curve = append(l.Curve, result.Point{Percentile: p, MS: at(p)})
	}
	l.Curve = append(l.Curve, result.Point{Percentile: 100, MS: l.MaxMS})
	return l
}

// sampleComparison has five peers, one of them missing, and bars both met and
// missed.
func sampleComparison() *result.Comparison {
	cells := func(medians map[string]float64) []result.Cell {
		var all []result.Cell
		for i, peer := range []string{"smtplb", "haproxy", "nginx", "iocopy", "direct"} {
			if m, ok := medians[peer]; ok {
				wobble := 0.015 * float64(i+1)
				all = append(all, result.Cell{Peer: peer, Median: m, Samples: []float64{m * (1 - wobble), m, m * (1 + wobble*1.4)}})
			}
		}
		return all
	}
	c := &result.Comparison{
		Version: "v0.4.0", Started: time.Date(2026, 11, 24, 14, 5, 9, 0, time.UTC), TookS: 1127, Complete: true, Rounds: 3,
		Machine: result.Machine{Kernel: "Linux 6.1.0-28-amd64", CPU: "AMD EPYC 7B13", CPUs: 8, BalancerCPUs: "2", LoadCPUs: "4-7"},
		Peers: []result.Peer{
			{Name: "smtplb", Version: "v0.4.0", Config: []result.ConfigFile{{Name: "smtplb.yaml", Text: "listeners:\n  - address: \"127.0.0.1:2525\"\n    pool: outbound\n    allow: [\"127.0.0.0/8\"]\n"}}},
			{Name: "haproxy", Version: "2.6.12-1+deb12u1", Config: []result.ConfigFile{{Name: "haproxy.cfg", Text: "defaults\n\tmode tcp\n\ttimeout client 15m\n"}}},
			{Name: "nginx", Version: "1.22.1", Config: []result.ConfigFile{{Name: "nginx.conf", Text: "stream {\n  upstream relays { least_conn; }\n}\n"}}},
			{Name: "iocopy", Version: "of smtplb v0.4.0"},
			{Name: "direct"},
			{Name: "envoy", Missing: "no envoy in the PATH; install it, or name it with --envoy"},
		},
		Notes: []string{"Client, balancer and relays share the machine: compare the columns, not with other machines."},
	}
	c.Measures = []result.Measure{
		{
			ID: "cpu_short", Title: "CPU per session, one message of 4 KB", Unit: "µs", Group: "CPU", How: "User and system time of the balancer's process over 20,000 sessions, 20 at a time.",
			Cells: cells(map[string]float64{"smtplb": 118, "haproxy": 139, "nginx": 131, "iocopy": 181}),
			Bar:   &result.Bar{Text: "at most 0.90 of the cheaper of haproxy and nginx", Got: 0.9008, Verdict: result.Missed},
		},
		{
			ID: "cpu_gb", Title: "CPU per GB, messages of 20 MB", Unit: "s", Group: "CPU", How: "The same, over 200 messages.",
			Cells: cells(map[string]float64{"smtplb": 0.241, "haproxy": 0.712, "nginx": 0.694, "iocopy": 0.388}),
			Bar:   &result.Bar{Text: "at most 0.60 of the cheaper of haproxy and nginx", Got: 0.347, Verdict: result.Met},
		},
		{
			ID: "memory_idle", Title: "Memory per idle session", Unit: "bytes", Log: true, How: "Growth of the resident set from 100 to 5,000 sessions, by the difference.",
			Cells: cells(map[string]float64{"smtplb": 612, "haproxy": 3410, "nginx": 9830, "iocopy": 12300}), Note: "Pages are 4 KB, so that small differences are rounding.",
			Bar: &result.Bar{Text: "at most 1,000 bytes", Got: 612, Verdict: result.Met},
		},
		{
			ID: "log", Title: "What the session log costs", Unit: "%", How: "CPU of smtplb per short session with a line for each session, beyond that without.",
			Cells: cells(map[string]float64{"smtplb": 2.31}), Bar: &result.Bar{Text: "below 5 % (median of the rounds' ratios)", Got: 2.31, Verdict: result.Met},
		},
		{
			ID: "latency_greeting_p50", Title: "Added latency of the greeting, p50", Unit: "ms", Group: "Added latency of the greeting",
			How:   "Open model, 2,000 sessions a second, which is half of what haproxy reached on these CPUs. Latencies count from when a session was due. Without a balancer: 0.412 ms.",
			Cells: cells(map[string]float64{"smtplb": 0.093, "haproxy": 0.107, "nginx": 0.095, "iocopy": 0.151}),
		},
		{
			ID: "latency_greeting_p99", Title: "Added latency of the greeting, p99", Unit: "ms", Group: "Added latency of the greeting", How: "As for p50.",
			Cells: cells(map[string]float64{"smtplb": -0.031, "haproxy": 0.12, "nginx": 0.101, "iocopy": 0.43}),
			Bar:   &result.Bar{Text: "what smtplb adds, less what haproxy adds: at most 0 ms", Got: -0.151, Verdict: result.Met},
		},
		{
			ID: "throughput", Title: "Sessions per second with 1 core", Unit: "1/s", Group: "Sessions per second", More: true, How: "As many as 20 clients can.",
			Cells: cells(map[string]float64{"smtplb": 7810, "haproxy": 7120, "nginx": 7405, "direct": 13900}),
		},
	}
	box := func(peer, text string, good bool) result.MatrixBox {
		return result.MatrixBox{Peer: peer, Text: text, Good: good}
	}
	c.Matrices = []result.Matrix{
		{
			ID: "faults", Title: "Faults of one relay of three", How: "Failed sessions of 100, and the slowest good one.", Case: "fault",
			Rows: []result.Row{
				{Case: "refused", Cells: []result.MatrixBox{box("smtplb", "0 of 100, 3.1 ms", true), box("haproxy", "0 of 100, 3,012 ms", true), box("nginx", "0 of 100, 3.4 ms", true)}},
				{Case: "greeting_4xx", Cells: []result.MatrixBox{box("smtplb", "0 of 100, 4.0 ms", true), box("haproxy", "29 of 100, 4.2 ms", false), box("nginx", "33 of 100, 3.9 ms", false)}},
				{Case: "greeting_timeout", Cells: []result.MatrixBox{box("smtplb", "0 of 100, 1,041 ms", true), box("haproxy", "29 of 100", false), box("nginx", "33 of 100", false)}},
			},
			Bar: &result.Bar{Text: "no failed session", Got: 0, Verdict: result.Met},
		},
		{
			ID: "shares", Title: "Shares of relays weighted 3:1", How: "Of 2,000 sessions.", Case: "connections",
			Rows: []result.Row{
				{Case: "1", Cells: []result.MatrixBox{box("smtplb", "75.0 : 25.0", true), box("haproxy", "50.0 : 50.0", false), box("nginx", "75.0 : 25.0", true)}},
				{Case: "2", Cells: []result.MatrixBox{box("smtplb", "75.1 : 24.9", true), box("haproxy", "56.1 : 43.9", false)}},
			},
		},
	}
	return c
}
