//go:build !linux

package subject

func openBare(Order, *script) (master, error) { return nil, errOnlyLinux }
