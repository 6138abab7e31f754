package chaos

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const page = "../../docs/reliability.md"

// The page's table is one that the test has printed: every fault, in order, with what
// it may show a client, and none that was not injected.
func TestPageHasEveryFault(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	empty := strings.Split(strings.TrimSpace(table(rowsOf(nil, &crowdOfSenders{}, verdict{}, time.Time{}, time.Time{}))), "\n")
	all := strings.Split(string(text), "\n")
	begin := slices.Index(all, empty[0])
	if begin < 0 || len(all) < begin+len(empty) {
		t.Fatalf("%s: no table that begins with\n%s", page, empty[0])
	}
	for i, want := range empty {
		got := all[begin+i]
		gotCells, wantCells := strings.Split(got, "|"), strings.Split(want, "|")
		if len(gotCells) != len(wantCells) || gotCells[1] != wantCells[1] || gotCells[2] != wantCells[2] {
			t.Errorf("%s:%d: %s\nwant a row such as\n%s", page, begin+i+1, got, want)
		} else if strings.TrimSpace(gotCells[3]) == "0" {
			t.Errorf("%s:%d: %s: never injected", page, begin+i+1, gotCells[1])
		}
	}
	if !strings.Contains(string(text), "make chaos SEED=") {
		t.Errorf("%s: no command that repeats the run", page)
	}
}

// What clients meet is counted for the faults that were on, and a failure for the
// one that explains it.
func TestRowsCountWhatClientsMet(t *testing.T) {
	began := time.Now()
	at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
	windows := []window{
		{fault{kind: killed, relay: 0}, at(10), at(12)},
		{fault{kind: hung, relay: 1}, at(11), at(14)},
		{fault{kind: upgraded, relay: -1}, at(20), at(20)},
	}
	cut := &visit{began: at(10.1), end: at(11), greeting: time.Second, outcome: cutOff}
	well := &visit{began: at(20.1), end: at(21), greeting: 2 * time.Second}
	c := &crowdOfSenders{visits: []*visit{cut, well}, messages: map[string]*message{
		"early": {tries: []try{{visit: cut, end: at(5), accepted: true}}},
		"meant": {tries: []try{{visit: cut, end: at(11)}, {visit: well, end: at(11.1), accepted: true}}},
		"late":  {tries: []try{{visit: well, end: at(20.9), accepted: true}}},
	}}
	d := verdict{blamed: map[*visit]int{cut: 0}}
	got := map[kind]row{}
	for _, r := range rowsOf(windows, c, d, began, at(30)) {
		got[r.kind] = r
	}
	const s = time.Second
	for _, want := range []row{
		{kind: calm, lasted: 24 * s, accepted: 1},
		{kind: killed, times: 1, lasted: 2 * s, accepted: 1, cut: 1, slowest: s},
		{kind: hung, times: 1, lasted: 3 * s, accepted: 1},
		{kind: upgraded, times: 1, accepted: 1, slowest: 2 * s},
		{kind: silent},
	} {
		if got[want.kind] != want {
			t.Errorf("%+v\nwant %+v", got[want.kind], want)
		}
	}
}

func TestMaySeeIsWhatTheJudgeAllows(t *testing.T) {
	for k, want := range map[kind]string{
		silent: "nothing", greets421: "nothing", siteDown: "cut", allDown: "greeted 421, cut", refuses: "451",
		upgraded: "nothing", linkCut: "timed out", clientLoss: "not connected, timed out", clientCuts: "its own reset",
	} {
		if got := maySee(k); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
}
