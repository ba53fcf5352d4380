//go:build !linux

package queue

func openMqueue(bool) func(int, *tray, []sender) (func() error, error) {
	return func(int, *tray, []sender) (func() error, error) { return nil, ErrMissing }
}
