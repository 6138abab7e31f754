package source

import (
	"fmt"
	"strings"
	"testing"
)

func TestRepliesThatDifferInIDsAreOneFailure(t *testing.T) {
	var f failures
	for i := range 3 {
		f.add(&fault{class: classGreeting4xx, stage: atGreeting, text: fmt.Sprintf("421 4.3.2 vip no relay is left (session 7f%dc-%d) at 10:0%d:00", i, i, i)}, "")
	}
	f.add(&fault{class: classGreeting4xx, stage: atGreeting, text: "421 4.7.0 vip no relay is left"}, "")
	f.add(&fault{class: classGreeting4xx, stage: atGreeting, text: "450 4.3.2 vip no relay is left"}, "")
	f.add(&fault{class: classRefused, stage: atConnect, text: "connection refused"}, "a:25")
	f.add(&fault{class: classRefused, stage: atConnect, text: "connection refused"}, "b:25")
	list := f.list()
	if len(list) != 5 || list[0].Count != 3 || list[0].Reply != "421 4.3.2 vip no relay is left (session 7f0c-0) at 10:00:00" {
		t.Errorf("%+v", list)
	}
}

func TestForms(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"250 2.0.0 ok":          "250 2.0.0 ok",
		"250 2.0.0 Ok: 4XyZ1":   "250 2.0.0 Ok: #",
		"550 5.1.1 <a1@b.c> no": "550 5.1.1 <#@b.c> no",
		"550-5.7.1 line\n550 5": "# line\n# #",
		"421 4.30.100 x":        "421 4.30.100 x",
		"421 10.20.30.40 x":     "421 # x",
		"421 127.0.0.1:25 x":    "421 # x",
		"no reply in time":      "no reply in time",
		"übel 3 mal":            "übel # mal",
	} {
		if got := form(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestEndlessVarietyOfFailuresIsBounded(t *testing.T) {
	var f failures
	for i := range 10 * maxGroups {
		f.add(&fault{class: classReply4xx, stage: atMAIL, text: strings.Repeat("x", i)}, "")
	}
	list, sum := f.list(), int64(0)
	for _, failure := range list {
		sum += failure.Count
	}
	if len(list) > maxGroups+1 || sum != 10*maxGroups {
		t.Errorf("%d kinds, %d in all", len(list), sum)
	}
}

func TestRepliesAreMadePrintable(t *testing.T) {
	for reply, want := range map[string]string{
		"250 ok\r\n":                    "250 ok",
		"220-a\r\n450 b\r\n":            "220-a\n450 b",
		"550 \x1b[2Jgone\x00\r\n":       "550 ?[2Jgone?",
		"550 gr\xfc\xdfe\r\n":           "550 gr?e",
		"550 grüße\r\n":                 "550 grüße",
		"550 csi \u009b2J \r x\n":       "550 csi ?2J ? x",
		strings.Repeat("x", 1000):       strings.Repeat("x", maxText) + "...",
		strings.Repeat("ü", 1000):       strings.Repeat("ü", maxText/2) + "...",
		"5" + strings.Repeat("ü", 1000): "5" + strings.Repeat("ü", maxText/2-1) + "...",
	} {
		if got := printable([]byte(reply)); got != want {
			t.Errorf("%.40q: %q, want %q", reply, got, want)
		}
	}
}
