package nat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Namespace is a network of its own.
type Namespace struct{ name string }

// namespaces are where ip(8) keeps them.
const namespaces = "/run/netns"

// Missing tells why this machine cannot have such networks; nil when it can.
func Missing() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	for program, of := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("the program %s is missing: apt install %s", program, of)
		}
	}
	return nil
}

// Do calls fn with the calling thread in the namespace. What fn opens stays there.
func (n *Namespace) Do(fn func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", n.name, err)
	}
	defer home.Close()
	there, err := os.Open(filepath.Join(namespaces, n.name))
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", n.name, err)
	}
	err = fn()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked: it ends with its goroutine, and nobody else gets lost on it.
		return errors.Join(err, fmt.Errorf("leave network namespace %s: %w", n.name, back))
	}
	runtime.UnlockOSThread()
	return err
}

// DialContext dials an IP address from within.
func (n *Namespace) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.Do(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// listenUDP opens a socket within.
func (n *Namespace) listenUDP(addr netip.Addr) (conn *net.UDPConn, err error) {
	err = n.Do(func() error {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	return conn, err
}

// Command is a program that runs within. It is killed when this process is gone.
func (n *Namespace) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.name, program}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// IP runs commands of ip(8) within, in order.
func (n *Namespace) IP(ctx context.Context, commands ...string) error {
	return batch(ctx, []string{"-n", n.name}, commands)
}

// batch has ip(8) run commands.
func batch(ctx context.Context, args, commands []string) error {
	cmd := exec.CommandContext(ctx, "ip", append(args, "-batch", "-")...)
	return feed(cmd, strings.Join(commands, "\n"))
}

// feed runs a program with an input; what it says is part of the error.
func feed(cmd *exec.Cmd, input string) error {
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// sysctl sets what is settled per network namespace.
func (n *Namespace) sysctl(settings ...string) error {
	return n.Do(func() error {
		for _, s := range settings {
			key, value, _ := strings.Cut(s, "=")
			file := filepath.Join("/proc/sys/net", strings.ReplaceAll(key, ".", "/"))
			if err := os.WriteFile(file, []byte(value), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("set net.%s in network namespace %s: %w", key, n.name, err)
			}
		}
		return nil
	})
}
