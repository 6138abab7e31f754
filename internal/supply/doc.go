// Package supply tests what stands between the source and the programs that are
// delivered: the list of modules that make sbom writes, and that make vuln fails
// where it must and says so where it could not look.
package supply
