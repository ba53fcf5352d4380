package rtc

import (
	"maps"
	"sync"
	"sync/atomic"
)

// lookup is a map for the path of packets: they read it, and peers that come and go replace it.
type lookup[K comparable, V any] struct {
	changing sync.Mutex
	all      atomic.Pointer[map[K]V]
}

func newLookup[K comparable, V any]() *lookup[K, V] {
	l := &lookup[K, V]{}
	l.all.Store(&map[K]V{})
	return l
}

func (l *lookup[K, V]) change(edit func(map[K]V)) {
	l.changing.Lock()
	defer l.changing.Unlock()
	next := maps.Clone(*l.all.Load())
	edit(next)
	l.all.Store(&next)
}

// at is V's zero where there is nothing.
func (l *lookup[K, V]) at(k K) V { return (*l.all.Load())[k] }

func (l *lookup[K, V]) len() int { return len(*l.all.Load()) }
