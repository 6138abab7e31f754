package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"smtplb/bench/result"
)

// go test ./bench/report -pages DIR leaves the pages that are tested there, to
// be looked at.
var pagesDir = flag.String("pages", "", "write the tested pages to this `directory`")

// leave writes text where -pages asks for it.
func leave(t *testing.T, name, text string) {
	t.Helper()
	if *pagesDir == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*pagesDir, name), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func runText(t testing.TB, r *result.Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteRun(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func comparisonText(t testing.TB, c *result.Comparison) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteComparison(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// element is one of a page, with the text directly in it.
type element struct {
	name string
	attr map[string]string
	text string
}

// elements reads a page as strictly as if it were XML, which these pages are but
// for the first line and the elements that have no end.
func elements(page string) ([]element, error) {
	page = strings.TrimPrefix(page, "<!doctype html>\n")
	page = regexp.MustCompile(`<(meta|link)([^>]*)>|<br>`).ReplaceAllString(page, "<$1$2/>")
	page = strings.ReplaceAll(page, "</>", "<br/>")
	decoder := xml.NewDecoder(strings.NewReader(page))
	decoder.Entity = xml.HTMLEntity
	var all []element
	var inside []int
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attr: map[string]string{}}
			for _, a := range token.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			inside = append(inside, len(all))
			all = append(all, e)
		case xml.EndElement:
			inside = inside[:len(inside)-1]
		case xml.CharData:
			if len(inside) > 0 {
				all[inside[len(inside)-1]].text += string(token)
			}
		}
	}
}

// known are the elements of the templates: others can only come from data.
const known = " html head meta link title style body header main footer section h1 h2 h3 p br strong small span code pre " +
	"dl dt dd div ul li table caption thead tbody tfoot tr th td details summary figure figcaption svg line text path rect circle g "

// checkPage fails unless page is whole, needs nothing from elsewhere, runs
// nothing and has a number wherever it draws.
func checkPage(t rapid.TB, page string) []element {
	t.Helper()
	all, err := elements(page)
	if err != nil {
		t.Fatalf("not well-formed: %v", err)
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Fatal("html/template found something unsafe")
	}
	for _, e := range all {
		if !strings.Contains(known, " "+e.name+" ") {
			t.Fatalf("an element %q %v", e.name, e.attr)
		}
		for name, value := range e.attr {
			switch name {
			case "href":
				if value != "data:," {
					t.Fatalf("a reference to %q", value)
				}
			case "src", "style", "srcset", "action", "background":
				t.Fatalf("<%s %s=%q>", e.name, name, value)
			case "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "d", "viewBox":
				if strings.Trim(value, "-0123456789.% MLhZ") != "" {
					t.Fatalf("<%s %s=%q>: no place", e.name, name, value)
				}
				percent, is := strings.CutSuffix(value, "%")
				if at, err := strconv.ParseFloat(percent, 64); is && (err != nil || at < 0 || at > 100) {
					t.Fatalf("<%s %s=%q>: outside", e.name, name, value)
				}
			}
			if strings.HasPrefix(name, "on") {
				t.Fatalf("<%s %s=%q>", e.name, name, value)
			}
		}
		if e.name == "style" && regexp.MustCompile(`url\(|@import|http`).MatchString(e.text) {
			t.Fatal("the style refers to something elsewhere")
		}
		if e.name == "svg" && e.attr["role"] == "img" && e.attr["aria-label"] == "" {
			t.Fatal("a drawing without words")
		}
	}
	return all
}

// sayText tells whether one element's own text has the words.
func sayText(all []element, words string) bool {
	for _, e := range all {
		if strings.Contains(e.text, words) {
			return true
		}
	}
	return false
}

func TestRunPages(t *testing.T) {
	interrupted := sampleRun(37)
	interrupted.Complete, interrupted.Sessions.Cut, interrupted.Failures[0].Target = false, 7, "192.0.2.11:25"
	closed := sampleRun(60)
	closed.Model, closed.RateS, closed.Integrity = "closed", 0, nil
	lost := sampleRun(60)
	lost.Integrity.Lost, lost.Integrity.LostSeqs = 2, []uint64{17, 4711}
	lost.Integrity.Duplicated = 1
	calm := sampleRun(2)
	calm.Failures, calm.Sessions.Failed = nil, 0
	tests := []struct {
		name string
		run  *result.Run
		says []string
		not  []string
	}{
		{"nothing", &result.Run{Complete: true}, []string{"Nothing was measured.", "It ended before its first second.", "None: no session was started."}, []string{"nterrupted"}},
		{"one second", sampleRun(1), []string{"A point is a second."}, nil},
		{"one minute", sampleRun(60), []string{"Every accepted message arrived, once and whole", "greeting_4xx", "Open model"}, []string{"nterrupted"}},
		{"one hour", sampleRun(3600), []string{"A point is 20 s.", "It took 1 h."}, nil},
		{"interrupted", interrupted, []string{"Interrupted after 37.0 s", "(interrupted)", "7 were cut off by the interruption", "192.0.2.11:25"}, nil},
		{"closed, without a sink", closed, []string{"Delivery was not checked", "Closed model"}, []string{"Dropped", "Every accepted"}},
		{"lost mail", lost, []string{"Messages: 2 lost and 1 duplicated", "17, 4711"}, []string{"Every accepted"}},
		{"no failure", calm, []string{"None: every session went as it should."}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			page := runText(t, test.run)
			leave(t, "run "+test.name+".html", page)
			all := checkPage(t, page)
			for _, words := range test.says {
				if !sayText(all, words) {
					t.Errorf("the page does not say %q", words)
				}
			}
			for _, words := range test.not {
				if sayText(all, words) {
					t.Errorf("the page says %q", words)
				}
			}
			if len(page) > 512<<10 {
				t.Errorf("the page has %d bytes", len(page))
			}
		})
	}
}

func TestComparisonPages(t *testing.T) {
	interrupted := sampleComparison()
	interrupted.Complete = false
	interrupted.Measures = interrupted.Measures[6:]
	interrupted.Matrices = nil
	unmeasured := sampleComparison()
	beyond := sampleComparison()
	beyond.Measures[0].Bar = &result.Bar{Text: "at most 0.90 of nginx; the floor is at 0.95 itself, and smtplb at 1.05 of the floor, at most 1.10", Got: 1.004, Verdict: result.OutOfReach}
	unmeasured.Measures[1].Bar = &result.Bar{Text: "at most 0.60 of haproxy", Verdict: result.NotMeasured}
	tests := []struct {
		name       string
		comparison *result.Comparison
		says       []string
		not        []string
	}{
		{"nothing", &result.Comparison{Complete: true}, []string{"No bar was judged", "Nothing was measured"}, []string{"nterrupted", "Case by case"}},
		{
			"usual", sampleComparison(),
			[]string{"5 of 6 bars are met", "Missed: CPU per session, one message of 4 KB.", "no envoy in the PATH; install it, or name it with --envoy", "29 of 100, 4.2 ms", "timeout client 15m", "1.18 ×"},
			[]string{"nterrupted"},
		},
		{"a bar without a number", unmeasured, []string{"4 of 6 bars are met", "Bar not measured:", "at most 0.60 of haproxy; here –."}, nil},
		{"a bar out of reach", beyond, []string{"5 of 6 bars are met, 1 out of reach", "Out of reach: CPU per session, one message of 4 KB.", "Bar out of reach:", "the floor is at 0.95 itself"}, []string{"Missed"}},
		{"interrupted", interrupted, []string{"Interrupted after 18 min 47 s", "No bar was judged"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			page := comparisonText(t, test.comparison)
			leave(t, "comparison "+test.name+".html", page)
			leave(t, "comparison "+test.name+".md", Markdown(test.comparison))
			all := checkPage(t, page)
			for _, words := range test.says {
				if !sayText(all, words) {
					t.Errorf("the page does not say %q", words)
				}
			}
			for _, words := range test.not {
				if sayText(all, words) {
					t.Errorf("the page says %q", words)
				}
			}
		})
	}
}

// hostile is every way out of the place where a text stands that we know.
const hostile = "</script><img src=x onerror=alert(1)>'\"`--></style></td></svg><svg onload=alert(1)>{{.}}\x1b[31m\u202e\x00|\r\n| <b>"

// fill sets all of v, as deep as it goes: slices get two elements.
func fill(v reflect.Value, text func() string, number func() float64, whole func() int64) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text, number, whole)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text, number, whole)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), text, number, whole)
		}
	case reflect.String:
		v.SetString(text())
	case reflect.Float64:
		v.SetFloat(number())
	case reflect.Int, reflect.Int64:
		v.SetInt(whole())
	case reflect.Uint64:
		v.SetUint(uint64(whole()))
	case reflect.Bool:
		v.SetBool(whole()%2 == 0)
	case reflect.Map: // for programs, not drawn
	default:
		panic("a kind that is not filled: " + v.Kind().String())
	}
}

func TestHostileTextsStayTexts(t *testing.T) {
	text := func() string { return hostile }
	number := func() float64 { return 1.5 }
	whole := func() int64 { return 3 }
	var r result.Run
	var c result.Comparison
	fill(reflect.ValueOf(&r).Elem(), text, number, whole)
	fill(reflect.ValueOf(&c).Elem(), text, number, whole)
	r.Timeline = sampleRun(2).Timeline
	c.Peers[0].Missing, c.Peers[0].Name, c.Matrices[1].Rows[0].Cells[0].Peer = "", "smtplb", "smtplb"
	pages := map[string]string{"run": runText(t, &r), "comparison": comparisonText(t, &c)}
	for name, page := range pages {
		leave(t, "hostile "+name+".html", page)
		all := checkPage(t, page)
		if !sayText(all, "<img src=x onerror=alert(1)>") {
			t.Errorf("%s: the text is not there", name)
		}
	}
	pages["markdown"] = Markdown(&c)
	for name, page := range pages {
		if i := strings.IndexAny(page, "\x1b\u202e\x00\r"); i >= 0 {
			t.Errorf("%s has %q", name, page[i:min(i+10, len(page))])
		}
	}
	for line := range strings.Lines(pages["markdown"]) {
		if regexp.MustCompile(`(^|[^\\])<`).MatchString(line) {
			t.Errorf("Markdown with an element: %s", line)
		}
	}
}

// Numbers may be anything: damaged files, divisions by nothing, overflows.
func TestAnyNumbersCanBeDrawn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(
			rapid.Float64(), rapid.Float64Range(0, 1000), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.MaxFloat64, math.SmallestNonzeroFloat64, -1, 100}),
		)
		whole := rapid.OneOf(rapid.Int64(), rapid.Int64Range(0, 5), rapid.SampledFrom([]int64{math.MaxInt64, math.MinInt64}))
		draw := func(v any) {
			fill(reflect.ValueOf(v).Elem(), func() string {
				return rapid.SampledFrom([]string{"smtplb", "direct", "open", "message", ""}).Draw(t, "text")
			},
				func() float64 { return number.Draw(t, "number") }, func() int64 { return whole.Draw(t, "whole") })
		}
		var r result.Run
		var c result.Comparison
		draw(&r)
		draw(&c)
		var run, comparison bytes.Buffer
		if err := errors.Join(WriteRun(&run, &r), WriteComparison(&comparison, &c)); err != nil {
			t.Fatal(err)
		}
		checkPage(t, run.String())
		checkPage(t, comparison.String())
		for _, text := range []string{run.String(), comparison.String(), Markdown(&c)} {
			if i := strings.Index(text, "NaN"); i >= 0 {
				t.Fatalf("…%s", text[max(i-80, 0):i+3])
			}
		}
	})
}
