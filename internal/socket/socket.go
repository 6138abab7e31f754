// Package socket has the system calls of a data path, on non-blocking sockets.
//
// They are made raw, without a word to Go's scheduler: none of them waits, what
// the scheduler does around a call costs a tenth of a short one, and the
// runtime's monitor takes the processor (P) of a goroutine that it finds inside
// a call too often, which costs more. Sockets are read and written by the calls
// for sockets, which go past the layers that files need.
//
// An interrupted call is repeated; EAGAIN is the caller's. Errors are bare
// errnos. The functions are safe for concurrent use as far as the kernel's are;
// an Addr belongs to one goroutine.
package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read takes bytes out of the socket; 0 is its end.
func Read(fd int, b []byte) (int, error) { return recv(fd, b, 0) }

// Peek reads without taking the bytes out of the socket.
func Peek(fd int, b []byte) (int, error) { return recv(fd, b, unix.MSG_PEEK) }

func recv(fd int, b []byte, flags int) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(flags), 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Write gives the socket what it takes of b at once; it raises no SIGPIPE.
func Write(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Splice moves up to n bytes between a pipe and a socket inside the kernel;
// see splice(2).
func Splice(from, to, n int) (int, error) {
	for {
		moved, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n),
			unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if errno == 0 {
			return int(moved), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Close closes a socket. It does not wait for what is still to be sent.
func Close(fd int) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// CloseBoth closes two sockets, by one call where they are neighbours: as a
// session opens one right after the other, nearly all are. See close_range(2),
// of Linux 5.9; before that there are two calls. One of the two may be -1.
func CloseBoth(a, b int) {
	if first, last := min(a, b), max(a, b); first >= 0 && last == first+1 {
		if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(first), uintptr(last), 0); errno == 0 {
			return
		}
	}
	for _, fd := range [...]int{a, b} {
		if fd >= 0 {
			Close(fd)
		}
	}
}

// CloseReset closes a socket so that the peer sees a reset, not an end of file.
func CloseReset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	Close(fd)
}
