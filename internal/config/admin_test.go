package config_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"smtplb/internal/config"
)

// Who asks the running program while the file is half written gets to it all the
// same: only what is wrong in admin is in the way.
func TestAdminIsReadFromAFileThatIsWrongElsewhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "smtplb.yaml")
	for _, test := range []struct {
		name, text string
		environ    []string
		want       config.Admin
		err        string
	}{
		{name: "a whole file", text: base + "admin: {address: \"127.0.0.1:9000\"}\n", want: config.Admin{Address: netip.MustParseAddrPort("127.0.0.1:9000")}},
		{name: "mistakes elsewhere", text: "polls: []\nworkers: many\nadmin: {address: \"[::1]:9000\", token_file: t}\n",
			want: config.Admin{Address: netip.MustParseAddrPort("[::1]:9000"), TokenFile: "t"}},
		{name: "nothing of it", text: "{}", want: config.Admin{Address: netip.MustParseAddrPort("127.0.0.1:9925")}},
		{name: "the environment", text: base, environ: []string{"SMTPLB_ADMIN__ADDRESS=127.0.0.1:9001", "SMTPLB_WORKERS=x"},
			want: config.Admin{Address: netip.MustParseAddrPort("127.0.0.1:9001")}},
		{name: "mistakes in admin", text: "workers: many\nadmin: {address: x, token: y}\n", err: `:2: admin.address: "x": must be IP:port`},
		{name: "no YAML", text: "admin: [", err: "not YAML"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := config.LoadAdmin(file, test.environ)
			if got != test.want || (err == nil) != (test.err == "") {
				t.Fatalf("got %+v, %v, want %+v", got, err, test.want)
			}
			if err != nil && (!strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "workers")) {
				t.Errorf("error %v, want %q alone", err, test.err)
			}
		})
	}
	if _, err := config.LoadAdmin(filepath.Join(t.TempDir(), "none"), nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error %v of a file that is not there", err)
	}
}
