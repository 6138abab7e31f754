// Package arch holds no code, only tests that keep the shape of the tree: who
// may import whom (arch_test.go) and how large and of what form a file may be
// (form_test.go). Each rule carries its reason, which the failing test prints.
//
// To change a rule, change its entry in the table at the top of the file, and
// its reason with it. Rules for packages that do not exist hold trivially.
//
// What a linter already says (unused code, unchecked errors, globals) is not
// repeated here; see .golangci.yml.
package arch
