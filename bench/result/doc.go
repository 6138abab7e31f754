// Package result holds what the harness has measured, in the form in which it
// is written as JSON, printed as a table and drawn as a page: a Run of the
// source, and a Comparison of several balancers. It measures nothing itself
// and has no methods that change anything.
//
// Durations are milliseconds as numbers, rates are per second, sizes bytes;
// each field's name says which. A field that was not measured is absent, never
// zero by default.
package result
