package source

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"smtplb/bench/mail"
)

// endpoint answers as a sink's control endpoint does.
func endpoint(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestHoldingsOfAllSinksAreFetched(t *testing.T) {
	sink := func(seq uint64) string {
		return endpoint(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/runs/00000000c0ffee00" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			var receipts mail.Receipts
			receipts.Add(mail.Arrival{ID: mail.ID{Run: 0xc0ffee00, Seq: seq}, Known: true, Size: 1})
			if err := json.NewEncoder(w).Encode(receipts.Of(0xc0ffee00)); err != nil {
				t.Error(err)
			}
		})
	}
	holdings, err := Holdings(t.Context(), []string{sink(1), sink(2)}, 0xc0ffee00)
	if err != nil {
		t.Fatal(err)
	}
	var ledger mail.Ledger
	for seq := range uint64(3) {
		ledger.Accepted(seq + 1)
	}
	if v := ledger.Compare(holdings...); v.Delivered != 2 || v.Lost != 1 || v.LostSeqs[0] != 3 {
		t.Errorf("%+v", v)
	}
}

func TestSinksThatDoNotAnswerAreNamed(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	for want, sink := range map[string]string{
		"404 Not Found":             endpoint(t, http.NotFound),
		"cannot unmarshal":          endpoint(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("220 relay")) }),
		"about run":                 endpoint(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"run":"8"}`)) }),
		"connection refused":        strings.TrimPrefix(gone.URL, "http://"),
		"want host:port of the sin": "127.0.0.1",
	} {
		_, err := Holdings(t.Context(), []string{sink}, 7)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `sink "`+sink+`"`) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}
