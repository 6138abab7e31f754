// Package version tells which version of a program runs: the one that the
// linker was told (-X main.version=...), or for a plain go install the module's.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Unset is what a program's version is before the linker has its say.
const Unset = "dev"

// Full is the version, given what the linker left in the program.
func Full(linked string) string {
	if linked != Unset {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return linked
}

// Line is what a program's version command prints.
func Line(program, linked string) string {
	return fmt.Sprintf("%s %s (%s, %s/%s)", program, Full(linked), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
