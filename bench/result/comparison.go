package result

import "time"

// Comparison is several ways from a client to its relays, measured in one run.
type Comparison struct {
	Version  string    `json:"version"` // of smtpbench
	Started  time.Time `json:"started"`
	TookS    float64   `json:"took_s"`
	Complete bool      `json:"complete"` // false: it was interrupted
	Machine  Machine   `json:"machine"`
	Rounds   int       `json:"rounds"`
	Peers    []Peer    `json:"peers"`    // in the order of the columns
	Measures []Measure `json:"measures"` // one number for each peer
	Matrices []Matrix  `json:"matrices"` // more than a number for each peer
	Notes    []string  `json:"notes,omitempty"`
}

// Machine is where the comparison ran.
type Machine struct {
	Kernel       string `json:"kernel"`
	CPU          string `json:"cpu"`
	CPUs         int    `json:"cpus"`
	BalancerCPUs string `json:"balancer_cpus"` // as taskset writes them
	LoadCPUs     string `json:"load_cpus"`
}

// Peer is one way: a balancer, or none.
type Peer struct {
	Name    string       `json:"name"` // smtplb, haproxy, nginx, iocopy, direct
	Version string       `json:"version,omitempty"`
	Missing string       `json:"missing,omitempty"` // why it was not measured, and what would bring it
	Config  []ConfigFile `json:"config,omitempty"`
}

// ConfigFile is a configuration as the peer was given it.
type ConfigFile struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Measure is one number for each peer, the median of the rounds.
type Measure struct {
	ID    string `json:"id"` // cpu_short, cpu_long, cpu_gb, memory_idle, ...
	Title string `json:"title"`
	Unit  string `json:"unit"`
	How   string `json:"how"`              // how it was measured, in a sentence
	More  bool   `json:"more_is_better"`   // else less is
	Cells []Cell `json:"cells"`            // by peer; a missing peer has none
	Bar   *Bar   `json:"bar,omitempty"`    // what smtplb must reach
	Group string `json:"group,omitempty"`  // measures of one group are drawn together
	Log   bool   `json:"log,omitempty"`    // draw on a logarithmic scale
	Note  string `json:"caveat,omitempty"` // what limits it on this machine
}

// Cell is one peer's number.
type Cell struct {
	Peer    string    `json:"peer"`
	Median  float64   `json:"median"`
	Samples []float64 `json:"samples"` // by round
	Note    string    `json:"note,omitempty"`
}

// Bar is a goal for a measure, and whether it was met in this run.
type Bar struct {
	Text    string   `json:"text"` // "at most 0.90 of the cheaper of haproxy and nginx"
	Got     float64  `json:"got"`  // nothing where it was not measured
	Verdict Judgment `json:"verdict"`
}

// Judgment says how a bar was judged.
type Judgment string

// The judgments.
const (
	Met         Judgment = "met"
	Missed      Judgment = "missed"
	NotMeasured Judgment = "not measured" // what was to be judged is not there: as bad as missed
	OutOfReach  Judgment = "out of reach" // not met, and by nothing that does the same work, as was measured in the same run
	Undecided   Judgment = "undecided"    // not met, by less than the samples' noise
)

// MetIf is the judgment on what was measured.
func MetIf(met bool) Judgment {
	if met {
		return Met
	}
	return Missed
}

// Failed tells whether it is one that something is to be done about.
func (j Judgment) Failed() bool { return j != Met && j != OutOfReach && j != Undecided }

// Matrix is a table with a row for each case and a column for each peer.
type Matrix struct {
	ID    string `json:"id"` // faults, shares
	Title string `json:"title"`
	How   string `json:"how"`
	Case  string `json:"case"` // what a row is: "fault", "connections"
	Rows  []Row  `json:"rows"`
	Bar   *Bar   `json:"bar,omitempty"`
}

// Row is one case.
type Row struct {
	Case  string      `json:"case"`
	Cells []MatrixBox `json:"cells"`
}

// MatrixBox is what one peer did in one case.
type MatrixBox struct {
	Peer   string             `json:"peer"`
	Text   string             `json:"text"`   // for the table: "0 of 100, 41 ms"
	Values map[string]float64 `json:"values"` // for programs: failed, sessions, slowest_ms
	Good   bool               `json:"good"`   // nothing went wrong for a client, or the share was right
}
