// Package proc runs other programs on chosen CPUs and reads what the kernel
// says of them: the CPU time that they and their children have used, and the
// memory that they hold. Linux only.
//
//	cpus, err := proc.ParseCPUs("0,2-3")
//	p, err := proc.Start(proc.Command{Args: []string{"nginx", "-g", "daemon off;"}, CPUs: cpus, Dir: dir})
//	defer p.Stop()
//	before, err := p.CPU()
//	...
//	after, err := p.CPU() // after-before: all threads, all children, to the nanosecond
//
// A process that was started here ends with the one that started it, however
// that ends.
package proc
