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

	Emulated bool `json:"emulated,omitempty"` // its processor is another one's program: times mean nothing
}

// ThisMachine describes the machine that runs the program.
func ThisMachine() Machine {
	return Machine{
		CPU: cpuModel(), Cores: runtime.NumCPU(), Arch: runtime.GOARCH,
		Kernel: kernel(), Go: runtime.Version(), Emulated: emulated(runtime.GOARCH, cpuInfo()),
	}
}

// emulated tells a processor that qemu-user pretends: Linux describes the real one to it, in the words of
// the real one's architecture.
func emulated(arch, info string) bool {
	real := map[string]string{"x86": "vendor_id", "arm": "CPU implementer"}
	mine := real["x86"]
	if strings.HasPrefix(arch, "arm") {
		mine = real["arm"]
	}
	for _, word := range real {
		if word != mine && strings.Contains(info, word) {
			return true
		}
	}
	return false
}

func cpuInfo() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	return string(b)
}

// cpuModel asks Linux: x86 names the model in cpuinfo, an ARM board in its device tree.
func cpuModel() string {
	if b, err := os.ReadFile("/proc/device-tree/model"); err == nil && len(b) > 0 {
		return strings.TrimRight(string(b), "\x00\n")
	}
	for line := range strings.Lines(cpuInfo()) {
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
