package report_test

import (
	"fmt"
	"time"

	"smtplb/bench/report"
	"smtplb/bench/result"
)

func ExampleMarkdown() {
	c := &result.Comparison{
		Version: "v1.0.0", Started: time.Date(2026, 11, 24, 14, 5, 9, 0, time.UTC), TookS: 95, Complete: true, Rounds: 2,
		Machine: result.Machine{Kernel: "Linux 6.1", CPUs: 8, BalancerCPUs: "2", LoadCPUs: "4-7"},
		Peers:   []result.Peer{{Name: "smtplb"}, {Name: "haproxy", Version: "2.6.12"}, {Name: "nginx", Missing: "not in the PATH"}},
		Measures: []result.Measure{
			{
				Title: "CPU per session", Unit: "µs", Note: "the clock ticks every 10 ms",
				Cells: []result.Cell{{Peer: "smtplb", Median: 118.2, Samples: []float64{117, 119.4}}, {Peer: "haproxy", Median: 139, Samples: []float64{138, 140}}},
				Bar:   &result.Bar{Text: "at most 0.90 of haproxy", Got: 0.8504, Verdict: result.Met},
			},
			{Title: "Sessions | most", Unit: "sessions/s", More: true, Cells: []result.Cell{{Peer: "smtplb", Median: 7810, Samples: []float64{7800, 7820}}}},
		},
		Matrices: []result.Matrix{{
			Title: "Faults", How: "Failed sessions of 100.", Case: "fault",
			Rows: []result.Row{
				{Case: "greeting_4xx", Cells: []result.MatrixBox{{Peer: "smtplb", Text: "0 of 100", Good: true}, {Peer: "haproxy", Text: "29 of 100"}}},
				{Case: "silent", Cells: []result.MatrixBox{{Peer: "smtplb", Text: "1 of 100"}}},
			},
			Bar: &result.Bar{Text: "no failed session", Got: 1, Verdict: result.Missed},
		}},
	}
	fmt.Print(report.Markdown(c))
	// Output:
	// # smtpbench compare: 1 of 2 bars are met
	//
	// smtpbench v1.0.0, started 24 November 2026, 14:05:09 UTC; 2 rounds, medians; 95.0 s.
	// Linux 6.1, 8 CPUs, the balancer's CPUs 2, the load's CPUs 4-7.
	//
	// | measure          | unit       | better | smtplb | haproxy | spread | met   |  here | bar |
	// | ---------------- | ---------- | ------ | -----: | ------: | -----: | ----- | ----: | --- |
	// | CPU per session  | µs         | less   |    118 |     139 |    2 % | ✓ met | 0.850 | at most 0.90 of haproxy |
	// | Sessions \| most | sessions/s | more   |  7,810 |       – |  < 1 % |       |       |     |
	//
	// ## Faults
	//
	// Failed sessions of 100.
	//
	// | fault        | smtplb     | haproxy     |
	// | ------------ | ---------- | ----------- |
	// | greeting_4xx | ✓ 0 of 100 | ✗ 29 of 100 |
	// | silent       | ✗ 1 of 100 | –           |
	//
	// ✗ Bar missed: no failed session; here 1.
	//
	// ## Versions
	//
	// - haproxy: 2.6.12
	//
	// ## Not measured
	//
	// - nginx: not in the PATH
	//
	// ## Caveats
	//
	// - CPU per session: the clock ticks every 10 ms
}
