package aws

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOnLoopback(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"https://localhost:8443": true, "https://127.0.0.2": true, "https://[::1]:1": true,
		"": false, "https://kinesisvideo.us-west-2.amazonaws.com": false, "https://10.0.0.1": false, "://": false,
	} {
		if got := OnLoopback(endpoint); got != want {
			t.Errorf("%q: %v", endpoint, got)
		}
	}
}

func TestReadRootsTellsWhatIsWrong(t *testing.T) {
	if pool, err := ReadRoots(""); pool != nil || err != nil {
		t.Errorf("no file: %v, %v", pool, err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".gone"} {
		if _, err := ReadRoots(file); err == nil {
			t.Errorf("%s was read", file)
		}
	}
}
