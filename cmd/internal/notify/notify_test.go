package notify

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// manager listens as systemd does.
func manager(t *testing.T) (*net.UnixConn, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket, path
}

func hear(t *testing.T, socket *net.UnixConn) string {
	t.Helper()
	if err := socket.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1024)
	n, err := socket.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestTellsTheManager(t *testing.T) {
	socket, path := manager(t)
	m, err := FromEnvironment([]string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=3000", "WATCHDOG_PID=7"}, 7)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	check := func(context.Context) (string, error) {
		switch asked++; asked {
		case 1:
			return "open\nREADY=1", nil
		case 2:
			return "", errors.New("the session hangs")
		}
		cancel()
		return "again", nil
	}
	if err := m.Attend(ctx, Program{Check: check}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"READY=1", "WATCHDOG=1\nSTATUS=open READY=1", "STATUS=the session hangs", "WATCHDOG=1\nSTATUS=again", "STOPPING=1",
	} {
		if got := hear(t, socket); got != want {
			t.Fatalf("said %q, want %q", got, want)
		}
	}
}

func TestEndsWithTheProgram(t *testing.T) {
	m, err := FromEnvironment(nil, 7)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	failed <- io.ErrUnexpectedEOF
	if err := m.Attend(t.Context(), Program{Failed: failed}); err != io.ErrUnexpectedEOF {
		t.Fatalf("ended with %v", err)
	}
}

func TestWhoseWatchdog(t *testing.T) {
	_, path := manager(t)
	for pid, want := range map[int]time.Duration{7: 10 * time.Second, 8: idleEvery} {
		m, err := FromEnvironment([]string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=30000000", "WATCHDOG_PID=7"}, pid)
		if err != nil {
			t.Fatal(err)
		}
		if m.every() != want {
			t.Errorf("process %d is asked every %v, want %v", pid, m.every(), want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestBadEnvironment(t *testing.T) {
	_, path := manager(t)
	for _, env := range [][]string{
		{"NOTIFY_SOCKET=" + path + ".gone"},
		{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=soon"},
		{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=0"},
	} {
		if _, err := FromEnvironment(env, 7); err == nil {
			t.Errorf("%v was taken", env)
		}
	}
}
