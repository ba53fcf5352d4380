package service

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
)

func TestDeletedStreamTakesItsRecordingAlong(t *testing.T) {
	dir := t.TempDir()
	r := start(t, Config{Dir: dir})
	gone, stays := r.stream("gone", 1), r.stream("stays", 1)
	for _, arn := range []string{gone, stays} {
		folder := recordingDir(dir, arn)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "segment.mkv"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.sdk().DeleteStream(r.ctx, &kinesisvideo.DeleteStreamInput{StreamARN: &gone})
	r.expectRefused(map[string]error{"delete": err}, "")
	if _, err := os.Stat(recordingDir(dir, gone)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the recording of a deleted stream: %v", err)
	}
	if _, err := os.Stat(filepath.Join(recordingDir(dir, stays), "segment.mkv")); err != nil {
		t.Error(err)
	}
}
