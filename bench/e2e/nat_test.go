//go:build e2e && linux

package e2e

// The NAT matrix: service, devices and viewers as the programs that users run, each in a network namespace
// of its own; every kind of NAT before the device, and every kind before the viewer.

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/bench/nat"
)

const (
	natWithin    = 3 * time.Minute
	natService   = "203.0.113.1" // nat.ServerAddress
	natLocalDoor = "127.0.0.1:8080"
	natAdmin     = "127.0.0.1:8090"
)

// natRow is how one viewer came to its picture.
type natRow struct {
	device, viewer nat.Kind
	ok             bool
	fault          string
	pair           string        // of the viewer: local/remote
	picture        time.Duration // from the offer to the first decodable key frame
}

// TestNATMatrix: everybody gets a picture, and by a relay only those who cannot do without one.
func TestNATMatrix(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), natWithin)
	defer cancel()
	kinds := nat.Kinds()
	network := newNetwork(t, ctx, append(kinds, kinds...)...)
	programs := buildPrograms(t, ctx, "heliograph-server", "heliograph-device", "heliograph-load")
	devices, viewers := network.Sides[:len(kinds)], network.Sides[len(kinds):]

	env := publicService(t, network, programs)
	for _, side := range devices {
		inNamespace(t, side.Host, env, filepath.Join(programs, "heliograph-device"), "--channel", channelOf(side.Kind), "--admin", natAdmin)
	}
	for _, side := range devices {
		awaitDoor(t, side.Host, "device behind a NAT: "+string(side.Kind), natAdmin)
	}

	// Side by side: each viewer's host has one viewer at a time, each of them with another device.
	var rows []natRow
	for round := range kinds {
		found := make([]natRow, len(viewers))
		var group actors.Group
		for i, viewer := range viewers {
			group.Go("viewer", func() error {
				device := devices[(i+round)%len(devices)]
				var err error
				found[i], err = watchThroughNAT(ctx, viewer, device.Kind, env, filepath.Join(programs, "heliograph-load"))
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, found...)
	}
	keepMatrix(t, rows)
	for _, r := range rows {
		relayed := strings.Contains(r.pair, "relay")
		switch {
		case !r.ok:
			t.Errorf("device %s, viewer %s: no picture: %s", r.device, r.viewer, r.fault)
		case relayed == nat.Direct(r.device, r.viewer):
			t.Errorf("device %s, viewer %s: the pair is %s", r.device, r.viewer, r.pair)
		}
	}
}

func newNetwork(t *testing.T, ctx context.Context, kinds ...nat.Kind) *nat.Network {
	t.Helper()
	if err := nat.Missing(); err != nil {
		t.Skip("NOT TESTED: ", err)
	}
	network, err := nat.Build(ctx, kinds...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	return network
}

// publicService starts the service in the public namespace, and returns what its clients need.
func publicService(t *testing.T, network *nat.Network, programs string) (env []string) {
	t.Helper()
	data := t.TempDir()
	inNamespace(t, network.Public, []string{"HELIOGRAPH_WHEP_TOKEN=" + rand.Text()}, filepath.Join(programs, "heliograph-server"), "--data-dir", data,
		"--public", natService+":8443", "--local", natLocalDoor, "--relay-udp", natService+":3478", "--relay-tcp", natService+":3478")
	awaitDoor(t, network.Public, "service", natLocalDoor)
	return sourced(t, filepath.Join(data, "env"))
}

// channelOf names the channel of the device behind such a NAT.
func channelOf(kind nat.Kind) string { return strings.ReplaceAll(string(kind), " ", "-") }

// buildPrograms builds programs as they are delivered, and returns where they are.
func buildPrograms(t *testing.T, ctx context.Context, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	args := []string{"build", "-o", dir}
	for _, name := range names {
		args = append(args, "../../cmd/"+name)
	}
	build := exec.CommandContext(ctx, "go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build programs: %v\n%s", err, out)
	}
	return dir
}

// inNamespace runs a program until the test ends. What it said is shown when the test has failed.
func inNamespace(t *testing.T, where *nat.Namespace, env []string, program string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	cmd := where.Command(context.Background(), program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		limit := time.AfterFunc(stopWithin, func() { _ = cmd.Process.Kill() })
		defer limit.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", filepath.Base(program), err)
		}
		if t.Failed() {
			t.Logf("%s %v:\n%s", filepath.Base(program), args, said.String())
		}
	})
}

// awaitDoor asks a program in a namespace until it is ready.
func awaitDoor(t *testing.T, where *nat.Namespace, what, address string) {
	t.Helper()
	transport := &http.Transport{DialContext: where.DialContext, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: time.Second}
	eventually(t, startWithin, what+" is ready", func() error {
		resp, err := client.Get("http://" + address + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(resp.Body)
			return fmt.Errorf("%s: %s", resp.Status, text)
		}
		return nil
	})
}

// sourced is what a shell would have in its environment after sourcing the file.
func sourced(t *testing.T, file string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `. "$0"; env -0`, file).Output()
	if err != nil {
		t.Fatalf("source the service's settings: %v", err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

// watchThroughNAT runs one viewer for a second of picture.
func watchThroughNAT(ctx context.Context, side *nat.Side, device nat.Kind, env []string, program string) (natRow, error) {
	row := natRow{device: device, viewer: side.Kind}
	args := []string{"--viewers", "1", "--duration", "1s", "--channel", channelOf(device), "--json", "-"}
	if nat.Direct(device, side.Kind) {
		args = append(args, "--relay-wait", "5s") // a viewer takes whatever path is the first, otherwise
	}
	cmd := side.Host.Command(ctx, program, args...)
	var said bytes.Buffer
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), &said
	out, failed := cmd.Output()
	var report struct {
		Rows []struct {
			OK            bool     `json:"ok"`
			Error         string   `json:"error"`
			Pair          string   `json:"pair"`
			FirstKeyFrame *float64 `json:"first_key_frame_s"`
		} `json:"rows"`
	}
	if err := json.Unmarshal(out, &report); err != nil || len(report.Rows) != 1 {
		return row, fmt.Errorf("viewer behind a NAT (%s): %v, %v: %s", side.Kind, failed, err, said.String())
	}
	found := report.Rows[0]
	row.ok, row.fault, row.pair = found.OK, found.Error, found.Pair
	if found.FirstKeyFrame != nil {
		row.picture = time.Duration(*found.FirstKeyFrame * float64(time.Second))
	}
	return row, nil
}

func keepMatrix(t *testing.T, rows []natRow) {
	t.Helper()
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "device\tviewer\tconnected\tviewer's pair\tfirst picture\t")
	for _, device := range nat.Kinds() {
		for _, r := range rows {
			if r.device == device {
				fmt.Fprintf(w, "%s\t%s\t%v\t%s\t%v\t\n", r.device, r.viewer, r.ok, r.pair, r.picture.Round(time.Millisecond))
			}
		}
	}
	_ = w.Flush()
	t.Logf("\n%s", table.String())
	keep(t, "nat.txt", table.Bytes())
}
