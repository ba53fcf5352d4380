package main

import (
	"path/filepath"
	"testing"
)

func TestOpenSink(t *testing.T) {
	for name, want := range map[string]string{"discard": "", "file:" + filepath.Join(t.TempDir(), "a.ogg"): "file", "exec:cat": "exec"} {
		sink, err := openSink(name, nil)
		if err != nil || (sink == nil) != (want == "") || sink != nil && sink.Name() != want {
			t.Errorf("%s gives %v, %v", name, sink, err)
		}
	}
	for _, name := range []string{"", "file:", "exec:", "alsa:x", "file:/nonexistent/folder/a.ogg"} {
		if _, err := openSink(name, nil); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
}
