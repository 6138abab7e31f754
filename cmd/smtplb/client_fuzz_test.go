package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
)

// answersAll has every connection of l read a request and get answer.
func answersAll(l net.Listener, answer func() []byte) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, _ = conn.Read(make([]byte, 4<<10)) // a request is one packet
		_, _ = conn.Write(answer())
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
}

// Whatever answers where smtplb was looked for, by HTTP or not: the commands that
// ask it end with one of their statuses, and nothing gets to the terminal that it
// would obey.
func FuzzClientCommands(f *testing.F) {
	commands := [][]string{{"status"}, {"sessions"}, {"reload"}, {"drain", "relay-a"}, {"enable", "outbound/relay-a"}, {"status", "--json"}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer l.Close()
	var mu sync.Mutex
	var answer []byte
	go answersAll(l, func() []byte {
		mu.Lock()
		defer mu.Unlock()
		return answer
	})
	environ := []string{"SMTPLB_ADMIN__ADDRESS=" + l.Addr().String()}
	for i := range commands {
		f.Add(byte(i), byte(0), []byte(`{"version":"v1","ready":true,"pools":[{"name":"p\u001b[31m","tiers":[{"tier":1,"backends":[{"name":"relay-a","state":"up","weight":1,"sessions":-1}]}]}],"names":[{"name":"x"}],"sessions":[],"changes":["\u0007"]}`))
		f.Add(byte(i), byte(1), []byte(`{"title":"no","status":404,"detail":"there is no \u001b]0;x\u0007","near":["\u009b"],"errors":["a\r\nb"]}`))
		f.Add(byte(i), byte(2), []byte("HTTP/1.1 302 \x1b[2J\r\nLocation: http://192.0.2.1/\r\n\r\n"))
		f.Add(byte(i), byte(2), []byte("220 relay-a ESMTP\r\n"))
	}
	f.Fuzz(func(t *testing.T, command, how byte, body []byte) {
		text := string(body)
		switch how % 3 {
		case 0:
			text = fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		case 1:
			text = fmt.Sprintf("HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		default:
		}
		mu.Lock()
		answer = []byte(text)
		mu.Unlock()
		args := commands[int(command)%len(commands)]
		status, out, errs := commandIn(t, environ, args...)
		if status < 0 || status > 4 {
			t.Errorf("exit status %d", status)
		}
		if strings.Contains(errs, "%!") {
			t.Errorf("the error is %q", errs)
		}
		if args[len(args)-1] == "--json" {
			out = "" // it is for programs, as it came
		}
		for _, line := range strings.Split(out+errs, "\n") {
			if i := strings.IndexFunc(line, func(c rune) bool { return !unicode.IsPrint(c) }); i >= 0 {
				t.Errorf("%q is not for a terminal", line)
			}
		}
	})
}
