package messages

import "time"

// SnapshotWanted asks for the newest key frame; the sender gets a Snapshot.
//
// Path: viewer -> fanout
type SnapshotWanted struct{ Ticket uint64 }

// Snapshot answers SnapshotWanted.
//
// Path: fanout -> viewer
type Snapshot struct {
	Ticket uint64
	Unit   *AccessUnit // nil: no key frame has come yet
}

// BitrateCeiling asks that video take no more than so many bits per second while the viewer is here; 0
// takes the wish back.
//
// Path: viewer -> encoder
type BitrateCeiling struct {
	ClientID string
	Epoch    uint64
	Bps      int
}

// HookWanted asks for one of the owner's commands to be run; the sender gets a HookDone.
//
// Path: viewer -> hook
type HookWanted struct {
	Ticket   uint64
	ClientID string
	Command  string // its name
}

// HookDone answers HookWanted.
//
// Path: hook -> viewer
type HookDone struct {
	Ticket  uint64
	Status  int           // exit status
	Output  string        // begin of what it wrote
	Took    time.Duration // from its start to its end
	Refused string        // why it was not run, or did not end by itself; empty: it has
}
