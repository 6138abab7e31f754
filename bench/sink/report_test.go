package sink

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"smtplb/bench/mail"
)

// used is a sink that has taken three messages, one of them twice, and refused
// one.
func used(t *testing.T) *Sink {
	t.Helper()
	s := start(t, Config{Faults: mustFaults(t, "a: mail=450 times=1", "b: connect=refuse at=1h")})
	composer := mail.NewComposer()
	for i, step := range []struct {
		relay string
		seq   uint64
		kind  string
	}{{"a", 1, "mail_4xx"}, {"a", 1, ""}, {"a", 2, ""}, {"b", 2, ""}, {"b", 3, ""}} {
		m := composer.Message(mail.ID{Run: 0xc0ffee, Seq: step.seq}, 1000)
		if got := deliver(s.Address(step.relay), &m, false); got.kind != step.kind {
			t.Fatalf("%d: %+v", i, got)
		}
	}
	return s
}

func TestReport(t *testing.T) {
	s := used(t)
	r := s.Report()
	wantFaults := []FaultReport{
		{Fault: "a: mail=450 times=1", Relay: "a", Kind: "mail_4xx", Outcome: "reply_4xx", Injected: 1},
		{Fault: "b: connect=refuse at=1h", Relay: "b", Kind: "refuse", Outcome: "refused"},
	}
	if !reflect.DeepEqual(r.Faults, wantFaults) {
		t.Errorf("%+v\nwant %+v", r.Faults, wantFaults)
	}
	wantRuns := []RunReport{{Run: "0000000000c0ffee", Messages: 4, Bytes: 4000, Distinct: 3, Several: 1}}
	if !reflect.DeepEqual(r.Runs, wantRuns) {
		t.Errorf("%+v\nwant %+v", r.Runs, wantRuns)
	}
	if r.Complete || r.Corrupt() != 0 || r.Started.IsZero() {
		t.Errorf("%+v", r)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back.Relays, r.Relays) {
		t.Errorf("%v: %+v\nwant %+v", err, back.Relays, r.Relays)
	}
}

func TestReportAsText(t *testing.T) {
	r := Report{
		Relays: []RelayStats{
			{Name: "a", Connections: 120, Sessions: 100, Messages: 2000, Bytes: 8_000_000, Faults: map[string]int64{"mail_4xx": 3, "greeting_4xx": 20}},
			{Name: "b", Connections: 5, AcceptErrors: 2, Corrupt: 1},
		},
		Faults: []FaultReport{{Fault: "a: greeting=421", Injected: 20}, {Fault: "b: connect=down at=10s for=1s", Begun: 2}},
		Runs:   []RunReport{{Run: "00000000000000ff", Messages: 2000, Distinct: 1998, Several: 2, Corrupt: 1}},
	}
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	const want = `  relay  connections  sessions  messages   MB  foreign  corrupt  open  faults
      a          120       100      2000  8.0        0        0     0  greeting_4xx 20, mail_4xx 3
      b            5         0         0  0.0        0        1     0  
    all          125       100      2000  8.0        0        1     0  greeting_4xx 20, mail_4xx 3

faults injected
  20         a: greeting=421
  0          b: connect=down at=10s for=1s  (came on 2 times)

run 00000000000000ff: 2000 messages, 1998 different ones, 2 came more than once, 1 corrupt

relay b could not accept 2 times, for want of descriptors as a rule: see ulimit -n
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestControl(t *testing.T) {
	s := used(t)
	handler := s.Handler()
	get := func(method, path string, status int, v any) {
		t.Helper()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != status {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		if v == nil {
			return
		}
		if kind := w.Header().Get("Content-Type"); kind != "application/json" {
			t.Errorf("%s: %s", path, kind)
		}
		if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
			t.Fatalf("%s: %v in %s", path, err, w.Body)
		}
	}
	var report Report
	get("GET", "/report", http.StatusOK, &report)
	if len(report.Relays) != 2 || report.Relays[0].Messages != 2 || report.Relays[0].Faults["mail_4xx"] != 1 {
		t.Errorf("%+v", report)
	}
	var holding mail.Holding
	get("GET", fmt.Sprintf("/runs/%x", 0xc0ffee), http.StatusOK, &holding)
	want := mail.Holding{Run: 0xc0ffee, Total: 4, Bytes: 4000, Once: []mail.Span{{First: 1, Last: 1}, {First: 3, Last: 3}}, Several: map[uint64]int{2: 2}}
	if !reflect.DeepEqual(holding, want) {
		t.Errorf("%+v\nwant %+v", holding, want)
	}
	var relays map[string]int64
	get("GET", "/runs/0000000000c0ffee/relays", http.StatusOK, &relays)
	if !reflect.DeepEqual(relays, map[string]int64{"a": 2, "b": 2}) {
		t.Errorf("%v", relays)
	}
	get("GET", "/runs/1", http.StatusOK, &holding)
	var problem map[string]string
	get("GET", "/runs/xyz", http.StatusBadRequest, &problem)
	if !strings.Contains(problem["error"], "hex") {
		t.Errorf("%v", problem)
	}
	get("GET", "/nothing", http.StatusNotFound, nil)
	get("POST", "/report", http.StatusMethodNotAllowed, nil)
}
