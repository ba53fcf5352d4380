package messages

// Settings are what the owner may change while the device runs. Who gets them keeps to them from then on;
// what is there already stays.
//
// Path: admin -> device -> viewers -> viewer
// Path: admin -> device -> encoder
// Path: admin -> device -> hook
// Path: admin -> device -> gatherer
// Path: admin -> device -> storage
type Settings struct {
	ViewersMax int
	RelayOnly  bool

	BitrateMin, BitrateMax int // bit/s; the latter 0: what the source makes by itself
	BitrateSlew            int // per cent a second

	Grants   map[string][]string // by pattern of client ids
	Commands map[string][]string // program and arguments by name
}

// SettingsTaken is the answer to Settings: whoever is spawned from now on has them.
type SettingsTaken struct{}
