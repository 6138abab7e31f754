package result

import "time"

// Run is what one run of the source has seen.
type Run struct {
	Version    string    `json:"version"` // of smtpbench
	Started    time.Time `json:"started"`
	DurationS  float64   `json:"duration_s"` // from the first start to the last end
	Complete   bool      `json:"complete"`   // false: it was interrupted, and this is what there was until then
	Targets    []string  `json:"targets"`
	Model      string    `json:"model"`            // "closed" or "open"
	Settings   []Setting `json:"settings"`         // as given or by default, in the order of the help text
	RateS      float64   `json:"rate_s,omitempty"` // open model: intended starts a second
	LatencyOf  string    `json:"latency_of"`       // what latencies count from: "start" or, in the open model, "intended start"
	Sessions   Sessions  `json:"sessions"`
	Messages   Messages  `json:"messages"`
	Stages     []Stage   `json:"stages"`   // connect, greeting, tls, command, message, session, schedule; those that there were
	Failures   []Failure `json:"failures"` // most frequent first
	Timeline   []Second  `json:"timeline"`
	Integrity  *Verdict  `json:"integrity,omitempty"` // where a sink was asked
	Explainers []string  `json:"notes,omitempty"`     // what a reader must know to read the numbers
}

// Setting is one option of the run, for the reader of a report.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Sessions counts connections.
type Sessions struct {
	Started int64   `json:"started"`
	OK      int64   `json:"ok"`      // every message accepted, QUIT answered
	Failed  int64   `json:"failed"`  // anything else
	Cut     int64   `json:"cut"`     // were open when the run was interrupted, and were ended by it
	Dropped int64   `json:"dropped"` // open model: due, but not started for want of a place
	PerS    float64 `json:"per_s"`   // OK ones
}

// Messages counts messages.
type Messages struct {
	Accepted int64   `json:"accepted"` // a 2xx after the content
	Refused  int64   `json:"refused"`  // a 4xx or 5xx anywhere
	Unsure   int64   `json:"unsure"`   // the connection broke between the content and its reply (RFC 1047)
	Unsent   int64   `json:"unsent"`   // the session failed before the content was complete
	Bytes    int64   `json:"bytes"`    // content of the accepted ones
	PerS     float64 `json:"per_s"`
	MBPerS   float64 `json:"mb_per_s"` // 10^6 bytes
}

// Stage is the latency of one step of a session.
type Stage struct {
	Name string `json:"name"`
	Latency
}

// Latency is a distribution, in milliseconds.
type Latency struct {
	Count  int64   `json:"count"`
	MeanMS float64 `json:"mean_ms"`
	MinMS  float64 `json:"min_ms"`
	P50MS  float64 `json:"p50_ms"`
	P90MS  float64 `json:"p90_ms"`
	P99MS  float64 `json:"p99_ms"`
	P999MS float64 `json:"p99_9_ms"`
	// P9999MS means little below ten thousand samples; Count tells.
	P9999MS float64 `json:"p99_99_ms"`
	MaxMS   float64 `json:"max_ms"`
	Curve   []Point `json:"curve,omitempty"` // for a plot, percentiles rising
}

// Point is one point of a percentile curve.
type Point struct {
	Percentile float64 `json:"percentile"` // 0 to 100
	MS         float64 `json:"ms"`
}

// Failure is one way in which sessions or messages failed.
type Failure struct {
	Class string `json:"class"` // refused, connect_timeout, greeting_4xx, reply_4xx, reset, closed, timeout, ...
	Stage string `json:"stage"` // where: connect, greeting, ehlo, starttls, mail, rcpt, data, content, rset, quit
	// Target is where, if there are several.
	Target string `json:"target,omitempty"`
	Reply  string `json:"reply"` // the reply that the client saw, or the error; of many alike, the first
	Count  int64  `json:"count"`
}

// Second is one second of a run.
type Second struct {
	AtS         float64 `json:"at_s"` // since the start; the second ends here
	Sessions    int64   `json:"sessions"`
	Messages    int64   `json:"messages"`
	Bytes       int64   `json:"bytes"`
	Failures    int64   `json:"failures"`
	Open        int64   `json:"open"`         // sessions at its end
	GreetingP50 float64 `json:"greeting_p50"` // ms; 0 where none came
	GreetingP99 float64 `json:"greeting_p99"`
	MessageP50  float64 `json:"message_p50"`
	MessageP99  float64 `json:"message_p99"`
}

// Verdict is what became of the messages, source and sinks held against each
// other. The lists hold sequence numbers, at most a hundred each; the counts
// are complete.
type Verdict struct {
	Accepted   int64    `json:"accepted"`  // by the source's reckoning
	Unsure     int64    `json:"unsure"`    // may be there or not
	Delivered  int64    `json:"delivered"` // distinct messages at the sinks
	Lost       int64    `json:"lost"`      // accepted, but not there
	Duplicated int64    `json:"duplicated"`
	Corrupted  int64    `json:"corrupted"`
	Unexpected int64    `json:"unexpected"` // there, but refused or never sent
	LostSeqs   []uint64 `json:"lost_seqs,omitempty"`
	DupSeqs    []uint64 `json:"duplicated_seqs,omitempty"`
	BadSeqs    []uint64 `json:"corrupted_seqs,omitempty"`
	OddSeqs    []uint64 `json:"unexpected_seqs,omitempty"`
}

// OK tells that nothing was lost, duplicated, corrupted or unexpected.
func (v *Verdict) OK() bool {
	return v.Lost == 0 && v.Duplicated == 0 && v.Corrupted == 0 && v.Unexpected == 0
}
