package service

import (
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
)

const keysPollDefault = time.Second

// keywatch is the actor "keywatch": it reads the key files again and again, in an edge, and replaces
// the keyring when they have changed. Nobody sends it messages. Files that cannot be used are logged
// and counted once, and the keys stay what they were. States: none.
type keywatch struct {
	*world
	edges *actors.Edges
	last  keyTexts
	said  string // the error that was logged last
}

// Messages to itself.
type (
	keysDue  struct{}
	keysRead struct {
		texts keyTexts
		err   error
	}
)

func newKeywatch(w *world) *keywatch { return &keywatch{world: w, last: w.keys.initial} }

func (k *keywatch) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		k.edges = actors.NewEdges(k.sys, ctx)
		k.onKeysDue()
	case *keysDue:
		k.onKeysDue()
	case *keysRead:
		k.onKeysRead(msg)
	case *actors.EdgeEnded:
		k.onEdgeEnded(msg)
	}
}

// onKeysDue reads whole files: their times tell too little, an editor may write twice in one tick.
// What is in force, and has settled, is noted (keysum.go).
func (k *keywatch) onKeysDue() {
	inForce := k.last
	k.edges.Open("read keys", func(e *actors.Edge) error {
		texts, err := k.keys.read()
		var noted error
		if err == nil && texts.equal(inForce) {
			noted = noteKeys(k.keys.dir, texts)
		}
		return errors.Join(noted, e.Post(&keysRead{texts, err}))
	})
}

func (k *keywatch) onKeysRead(msg *keysRead) {
	if msg.err != nil {
		k.refused(msg.err)
		return
	}
	if msg.texts.equal(k.last) && k.said == "" {
		return
	}
	ring, err := compileKeys(msg.texts, k.keys.account)
	if err != nil {
		k.refused(err)
		return
	}
	k.said = ""
	if msg.texts.equal(k.last) {
		return
	}
	k.last = msg.texts
	k.keys.ring.Store(ring)
	k.metrics.reloads.WithLabelValues("taken").Inc()
	k.sys.Log().Info("keys reloaded", zap.Int("keys", len(ring.keys)), zap.Int("roles", len(ring.roles)))
	if ring.relaySecret != k.keys.RelaySecret {
		k.sys.Log().Warn("relay_secret has changed: it is heeded after a restart")
	}
}

func (k *keywatch) onEdgeEnded(msg *actors.EdgeEnded) {
	if msg.Err != nil {
		k.sys.Log().Warn("note keys", zap.Error(msg.Err))
	}
	k.edges.After(k.cfg.KeysPoll, &keysDue{})
}

// refused keeps the keys. What stays wrong in the same way is not said again.
func (k *keywatch) refused(err error) {
	if k.said == err.Error() {
		return
	}
	k.said = err.Error()
	k.metrics.reloads.WithLabelValues("refused").Inc()
	k.sys.Log().Error("changed keys cannot be used, the old ones stay", zap.Error(err))
}
