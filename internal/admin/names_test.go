package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestNamesAreShown(t *testing.T) {
	r := newRig(t)
	r.Names = func() []Name {
		return []Name{
			{Name: "mx:relays.example.com", Relays: 4, Answered: start.Add(-90 * time.Second), Failures: map[string]uint64{"timeout": 2, "nxdomain": 0}},
			{Name: "relay-a.example.com:25", Error: "there is no such name", Failures: map[string]uint64{"nxdomain": 7}},
		}
	}
	answer := r.ask(t, "GET", "/api/v1/status")
	check(t, answer, http.StatusOK)
	var st status
	if err := json.Unmarshal(answer.Body.Bytes(), &st); err != nil {
		t.Fatal(err)
	}
	if len(st.Names) != 2 || st.Names[0].Age != 90 || st.Names[0].Relays != 4 || st.Names[0].Error != "" ||
		st.Names[1].Age != time.Hour.Seconds() || st.Names[1].Error != "there is no such name" {
		t.Errorf("names %+v", st.Names)
	}
	text := r.scrape(t)
	for _, want := range []string{
		`smtplb_dns_answer_age_seconds{name="mx:relays.example.com"} 90`,
		`smtplb_dns_answer_age_seconds{name="relay-a.example.com:25"} 3600`,
		`smtplb_dns_relays{name="mx:relays.example.com"} 4`,
		`smtplb_dns_failures_total{fault="timeout",name="mx:relays.example.com"} 2`,
		`smtplb_dns_failures_total{fault="nxdomain",name="relay-a.example.com:25"} 7`,
	} {
		if !strings.Contains(text, want+"\n") && !strings.Contains(text, want+".0\n") {
			t.Errorf("%s is not in the metrics", want)
		}
	}
}

func TestNamesAreEvents(t *testing.T) {
	r := newRig(t)
	r.NamesChanged([]string{"pools.out.backends: relay-a/10.0.0.1:25 is found now"})
	r.NameFails("mx:relays.example.com", errors.New("no answer"))
	r.NameFails("mx:relays.example.com", nil)
	text := r.ask(t, "GET", "/api/v1/events").Body.String()
	for _, want := range []string{
		"DNS: pools.out.backends: relay-a/10.0.0.1:25 is found now", `"failing"`, "no answer", "DNS: mx:relays.example.com is found again", `"dns"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not among the events: %s", want, text)
		}
	}
}

func TestWithoutNamesTheListIsEmpty(t *testing.T) {
	r := newRig(t)
	r.Names = nil
	if text := r.ask(t, "GET", "/api/v1/status").Body.String(); !strings.Contains(text, `"names":[]`) && !strings.Contains(text, `"names": []`) {
		t.Errorf("status %s", text)
	}
}
