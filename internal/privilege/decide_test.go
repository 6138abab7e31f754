package privilege

import (
	"slices"
	"testing"

	libcap "kernel.org/pub/linux/libs/security/libcap/cap"
	"pgregory.net/rapid"
)

func TestOnlyWhatIsNeededIsKept(t *testing.T) {
	var (
		today = Release{6, 1}
		full  = []libcap.Value{libcap.CHOWN, libcap.DAC_OVERRIDE, libcap.SETUID, libcap.SETPCAP, libcap.NET_BIND_SERVICE, libcap.NET_ADMIN, libcap.NET_RAW, libcap.SYS_ADMIN}
		unit  = []libcap.Value{libcap.NET_BIND_SERVICE, libcap.NET_ADMIN, libcap.NET_RAW}
		none  []libcap.Value
	)
	tests := []struct {
		name  string
		p     Process
		needs Needs
		keep  []libcap.Value
	}{
		{"root", Process{UID: 0, Has: full, Linux: today}, Needs{}, []libcap.Value{libcap.NET_BIND_SERVICE}},
		{"root, with marks", Process{UID: 0, Has: full, Linux: today}, Needs{Mark: true}, []libcap.Value{libcap.NET_BIND_SERVICE, libcap.NET_RAW}},
		{"root, with marks, before 5.17", Process{UID: 0, Has: full, Linux: Release{5, 16}}, Needs{Mark: true}, []libcap.Value{libcap.NET_BIND_SERVICE, libcap.NET_ADMIN}},
		{"root, with marks, 5.17", Process{UID: 0, Has: full, Linux: Release{5, 17}}, Needs{Mark: true}, []libcap.Value{libcap.NET_BIND_SERVICE, libcap.NET_RAW}},
		{"root, with an interface", Process{UID: 0, Has: full, Linux: today}, Needs{Interface: true}, []libcap.Value{libcap.NET_BIND_SERVICE}},
		{"root, with an interface, before 5.7", Process{UID: 0, Has: full, Linux: Release{5, 6}}, Needs{Interface: true}, []libcap.Value{libcap.NET_BIND_SERVICE, libcap.NET_RAW}},
		{"root, from the clients' addresses", Process{UID: 0, Has: full, Linux: Release{4, 19}}, Needs{Transparent: true}, []libcap.Value{libcap.NET_BIND_SERVICE, libcap.NET_RAW}},
		{"root, everything, an old kernel", Process{UID: 0, Has: full, Linux: Release{}}, Needs{true, true, true}, unit},
		{"root in a container that has less", Process{UID: 0, Has: []libcap.Value{libcap.CHOWN, libcap.SETUID}, Linux: today}, Needs{Mark: true}, none},
		{"root without any", Process{UID: 0, Linux: today}, Needs{Mark: true}, none},
		{"a user", Process{UID: 1000, Linux: today}, Needs{Mark: true}, none},
		{"a user who was given a port", Process{UID: 1000, Has: unit[:1], Linux: today}, Needs{}, unit[:1]},
		{"a user who was given what a reload may need", Process{UID: 1000, Has: unit, Linux: today}, Needs{}, unit},
		{"a user who was given all", Process{UID: 1000, Has: full, Linux: today}, Needs{}, unit},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			plan := Decide(test.p, test.needs)
			if plan.Root != (test.p.UID == 0) {
				t.Errorf("root: %v", plan.Root)
			}
			if !slices.Equal(plan.Keep, test.keep) {
				t.Errorf("keeps %v, want %v", Names(plan.Keep), Names(test.keep))
			}
		})
	}
}

func TestFilesAreLeftToWhoHasBuiltAPlace(t *testing.T) {
	for _, test := range []struct {
		name           string
		p              Process
		givesUpWriting bool
	}{
		{"nobody has", Process{UID: 0}, true},
		{"nobody has, a user", Process{UID: 1000}, true},
		{"a unit, or an upgrade", Process{NoNewPrivs: true}, false},
		{"a filter that may not know the calls", Process{Filtered: true}, false},
	} {
		if got := Decide(test.p, Needs{}).ReadOnly; got != test.givesUpWriting {
			t.Errorf("%s: gives up writing: %v", test.name, got)
		}
	}
}

// Whatever there is: nothing is made up, nothing is lost, who needs more keeps no
// less, and to decide twice changes nothing.
func TestEveryCapabilityIsKeptOrGivenUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		has := rapid.SliceOfNDistinct(rapid.Map(rapid.IntRange(0, 40), func(n int) libcap.Value { return libcap.Value(n) }), 0, 41, rapid.ID[libcap.Value]).Draw(t, "has")
		p := Process{
			UID: rapid.IntRange(0, 1).Draw(t, "uid"), Has: has,
			Linux: Release{rapid.IntRange(3, 6).Draw(t, "major"), rapid.IntRange(0, 20).Draw(t, "minor")},
		}
		n := Needs{rapid.Bool().Draw(t, "mark"), rapid.Bool().Draw(t, "interface"), rapid.Bool().Draw(t, "transparent")}
		plan := Decide(p, n)
		all := slices.Concat(plan.Keep, plan.Drop)
		slices.Sort(all)
		slices.Sort(has)
		if !slices.Equal(all, has) {
			t.Fatalf("of %v it keeps %v and drops %v", has, plan.Keep, plan.Drop)
		}
		for _, c := range Decide(p, Needs{}).Keep {
			if !slices.Contains(plan.Keep, c) {
				t.Errorf("%v is kept only if less is needed", c)
			}
		}
		again := p
		again.Has = plan.Keep
		if second := Decide(again, n); len(second.Drop) > 0 {
			t.Errorf("the second time it drops %v", second.Drop)
		}
	})
}

func TestReleases(t *testing.T) {
	for text, want := range map[string]Release{
		"6.1.0-13-amd64": {6, 1}, "5.14.0-427.el9.x86_64": {5, 14}, "6.18-rc1": {6, 18}, "5.17": {5, 17}, "": {}, "linux": {}, "6": {},
	} {
		if got := release(text); got != want {
			t.Errorf("%q is read as %v, want %v", text, got, want)
		}
	}
}
