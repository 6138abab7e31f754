// Package report draws what the harness has measured for people: a run of the
// source and a comparison of balancers as pages of HTML, a comparison also as
// Markdown for the terminal.
//
//	err := report.WriteRun(file, run)               // smtpbench source
//	err = report.WriteComparison(file, comparison)  // smtpbench compare
//	fmt.Print(report.Markdown(comparison))
//
// A page is one file that needs nothing else: styles and drawings are in it, it
// has no script, asks nothing of the network and forbids itself to. It follows
// the reader's light or dark scheme, fits a telephone and a sheet of paper, and
// says in words and marks whatever it says in colour.
//
// What comes from the network (replies, versions, error texts) is hostile until
// shown otherwise: html/template escapes it, and characters that would move a
// terminal's cursor or turn a line round are written out.
//
// # How things are drawn
//
// The Go code places everything and the templates in page/ only write it down.
// A plot is an SVG without a view box, as wide as its column, in which x is a
// percentage and y a pixel, so that letters keep their size at every width; the
// lines are in a second one inside, which is stretched.
//
// A number that is not finite is a dash, or a gap in a line. Runs longer than
// three minutes are drawn with several seconds to a point, in a way that hides
// no bad second: see timeline.
//
// It measures nothing and changes nothing that it is given.
package report
