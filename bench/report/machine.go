package report

import (
	"os"
	"runtime"
	"strings"
)

// Machine tells what a figure was measured on.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// ThisMachine describes the machine that runs the program.
func ThisMachine() Machine {
	return Machine{
		CPU: cpuModel(), Cores: runtime.NumCPU(), Arch: runtime.GOARCH,
		Kernel: kernel(), Go: runtime.Version(),
	}
}

// cpuModel asks Linux: x86 names the model in cpuinfo, an ARM board in its device tree.
func cpuModel() string {
	if b, err := os.ReadFile("/proc/device-tree/model"); err == nil && len(b) > 0 {
		return strings.TrimRight(string(b), "\x00\n")
	}
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "model name", "Model", "Hardware":
			if ok {
				return strings.TrimSpace(value)
			}
		}
	}
	return "unknown"
}

func kernel() string {
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		return strings.TrimSpace(string(b))
	}
	return runtime.GOOS
}
