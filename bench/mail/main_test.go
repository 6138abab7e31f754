package mail

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// content is a message as BDAT carries it.
func content(tb interface{ Fatal(args ...any) }, m Message) []byte {
	var out bytes.Buffer
	if err := m.WriteContent(&out); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func check(pieces ...[]byte) Arrival {
	var k Checker
	for _, p := range pieces {
		_, _ = k.Write(p)
	}
	return k.Arrival()
}
