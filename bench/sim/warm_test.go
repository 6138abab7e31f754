package sim

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestWarmShareIsHeldAgainstTheConfigured(t *testing.T) {
	days := []warmth{{sessions: 1000, kept: 50}, {sessions: 1000, kept: 70}, {sessions: 1000}, {sessions: 99, kept: 99}, {}}
	for configured, want := range map[float64][]float64{0.05: {0, 0.02, 0.05}, 0: {0.05, 0.07, 0}} {
		got := warmErrors(configured, days)
		if len(got) != len(want) {
			t.Errorf("configured %v: %v, want %v", configured, got, want)
			continue
		}
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-12 {
				t.Errorf("configured %v: %v, want %v", configured, got, want)
			}
		}
	}
}

func TestWarmSessionsAreThoseThatFoundARelay(t *testing.T) {
	fates := slices.Concat(slices.Repeat([]uint8{warmHome}, 90), slices.Repeat([]uint8{warmAway}, 6), []uint8{warmOpen, warmHome})
	var w warmth
	w.count(fates, 0.1)
	if want := (warmth{sessions: 97, kept: 6}); w != want {
		t.Errorf("counted %+v, want %+v, and no window of %d", w, want, warmWindow)
	}
}

// The worst window is what looking at each of them finds.
func TestWarmWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		runs := rapid.SliceOfN(rapid.IntRange(0, 150), 0, 12).Draw(t, "runs")
		var fates []uint8
		var carried []float64
		for i, n := range runs {
			fate := uint8(i % 3)
			fates = append(fates, slices.Repeat([]uint8{fate}, n)...)
			if fate != warmOpen {
				carried = append(carried, slices.Repeat([]float64{float64(fate - warmHome)}, n)...)
			}
		}
		configured := rapid.Float64Range(0, 1).Draw(t, "configured")
		worst, windows := 0.0, 0
		for end := warmWindow; end <= len(carried); end++ {
			kept := 0.0
			for _, x := range carried[end-warmWindow : end] {
				kept += x
			}
			windows++
			worst = max(worst, math.Abs(kept/warmWindow-configured))
		}
		var w warmth
		w.count(fates, configured)
		if int(w.sessions) != len(carried) || int(w.windows) != windows || math.Abs(w.window-worst) > 1e-12 {
			t.Fatalf("counted %+v, want %d sessions, %d windows, the worst off by %v", w, len(carried), windows, worst)
		}
	})
}

// Of sessions that follow one another, a tenth goes to the standby as long as its own site is in use, and none counts as warm
// when it is not.
func TestWarmSessionsOfADay(t *testing.T) {
	c := small()
	c.RelayFaults = 0
	run := newRun(&c)
	if err := run.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, r := range run.results {
		if off := math.Abs(share(r.warm.kept, r.warm.sessions) - c.KeepWarm); r.warm.sessions == 0 || off > 0.001 {
			t.Errorf("balancer %d: the standby got %d of %d sessions, want a tenth", i, r.warm.kept, r.warm.sessions)
		}
		total := r.sessions[healthy] + r.sessions[failing] + r.sessions[recovering]
		if away := run.fleet.plans[i].site == failedSite; away && r.warm.sessions+r.sessions[failing]*9/10 > total || r.warm.sessions < total/2 {
			t.Errorf("balancer %d, its site failed: %v: %d sessions of %d might have kept the standby warm; %d while the site was away",
				i, away, r.warm.sessions, total, r.sessions[failing])
		}
		if r.warm.windows == 0 || r.warm.window > 0.1 {
			t.Errorf("balancer %d: %+v: want some windows, and none further off than the share itself", i, r.warm)
		}
	}
}
