package smtptest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// got is the message as a relay would have it.
func got(m Outgoing) Message {
	b := newBody(false)
	_, _ = b.Write(m.content())
	return b.message()
}

func TestLedgerTellsWhatHappenedToAMessage(t *testing.T) {
	m := Outgoing{ID: "m", Size: 300}
	other := Outgoing{ID: "m", Size: 300, Body: Body("m", 301)}
	unsure := fmt.Errorf("wrapped: %w", &unsureError{io.EOF})
	refused := &ReplyError{"message", 452, "full"}
	for _, c := range []struct {
		name    string
		results []error // of Send, in turn
		got     []Message
		want    string // the list that names it, "" for none
	}{
		{"delivered", []error{nil}, []Message{got(m)}, ""},
		{"lost", []error{nil}, nil, "lost"},
		{"twice", []error{nil}, []Message{got(m), got(m)}, "duplicated"},
		{"changed on the way", []error{nil}, []Message{got(other)}, "corrupted"},
		{"never sent", nil, []Message{got(m)}, "unexpected"},
		{"refused but there", []error{refused}, []Message{got(m)}, "unexpected"},
		{"refused", []error{refused}, nil, ""},
		{"unsure and there", []error{unsure}, []Message{got(m)}, ""},
		{"unsure and not there", []error{unsure}, nil, ""},
		{"unsure and twice", []error{unsure}, []Message{got(m), got(m)}, "duplicated"},
		{"unsure, then accepted, once there", []error{unsure, nil}, []Message{got(m)}, ""},
		{"unsure, then accepted, twice there", []error{unsure, nil}, []Message{got(m), got(m)}, ""},
		{"unsure, then accepted, lost", []error{unsure, nil}, nil, "lost"},
		{"refused, then accepted", []error{refused, nil}, []Message{got(m)}, ""},
		{"accepted twice, once there", []error{nil, nil}, []Message{got(m)}, "lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ledger Ledger
			accepted := 0
			for _, result := range c.results {
				if err := ledger.Record(m, result); !errors.Is(err, result) {
					t.Errorf("Record changed %v to %v", result, err)
				}
				if result == nil {
					accepted++
				}
			}
			if n := ledger.Accepted(); n != accepted {
				t.Errorf("%d accepted, want %d", n, accepted)
			}
			report := ledger.Compare(c.got[:min(1, len(c.got))], c.got[min(1, len(c.got)):])
			for word, ids := range map[string][]string{
				"lost": report.Lost, "duplicated": report.Duplicated,
				"corrupted": report.Corrupted, "unexpected": report.Unexpected,
			} {
				if want := word == c.want; slices.Contains(ids, "m") != want || len(ids) > 1 {
					t.Errorf("%s: %q", word, ids)
				}
			}
			err := report.Err()
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), "1 "+c.want+` ["m"]`)) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestLongReportStaysReadable(t *testing.T) {
	var ledger Ledger
	for n := range 1000 {
		m := Outgoing{ID: fmt.Sprintf("id%03d", n)}
		if err := ledger.Record(m, nil); err != nil {
			t.Fatal(err)
		}
	}
	report := ledger.Compare()
	if len(report.Lost) != 1000 || report.Delivered != 0 {
		t.Errorf("%d lost, %d delivered", len(report.Lost), report.Delivered)
	}
	if text := report.Err().Error(); len(text) > 200 || !strings.Contains(text, "1000 lost") || !strings.Contains(text, `"id009"]`) {
		t.Errorf("error %q", text)
	}
}
