//go:build e2e

package e2e

// One headless Chromium per test, in its own profile; chromedp ends exactly the process that it started.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

const (
	browserWithin = 90 * time.Second // a whole test
	varianceMin   = 20               // of luminance 0..255: a uniform picture is near 0, one of Chromium's own camera was 50
	windowWidth   = 1440
	windowHeight  = 950
)

// browser is a tab and what its console said.
type browser struct {
	ctx      context.Context
	refusals bool // the test provokes them; Chromium itself writes each one to the console

	mu      sync.Mutex
	console []string
}

// newBrowser opens an empty tab. Uncaught exceptions and console errors of the page fail the test at its end.
func newBrowser(t *testing.T, flags ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	path := program(t, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(windowWidth, windowHeight),
		chromedp.Flag("headless", "new"), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.Flag("use-fake-ui-for-media-stream", true), chromedp.Flag("use-fake-device-for-media-stream", true))
	ctx, cancel := context.WithTimeout(context.Background(), browserWithin)
	t.Cleanup(cancel)
	ctx, endBrowser := chromedp.NewExecAllocator(ctx, append(options, flags...)...)
	t.Cleanup(endBrowser)
	ctx, _ = chromedp.NewContext(ctx)
	b := &browser{ctx: ctx}
	b.do(t, chromedp.EmulateViewport(windowWidth, windowHeight))

	heard := make(chan struct{})
	messages := chromedp.Console(ctx)
	go func() {
		defer close(heard)
		for m, err := range messages {
			if err != nil {
				return
			}
			b.hear(m)
		}
	}()
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("close browser: %v", err)
		}
		<-heard
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, line := range b.console {
			t.Errorf("the page's console: %s", line)
		}
	})
	return b
}

func (b *browser) hear(m chromedp.ConsoleMessage) {
	if !m.IsException() && m.Type != chromedp.ConsoleError || m.Source == "network" && b.refusals {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.console = append(b.console, fmt.Sprintf("%s (%s:%d)", m, m.URL, m.Line+1))
}

func (b *browser) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		t.Fatalf("drive the browser: %v; console: %v", err, b.said())
	}
}

func (b *browser) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.console...)
}

// value evaluates an expression, awaiting it when it is a promise.
func value[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("evaluate %q: %v; console: %v", expression, err, b.said())
	}
	return got
}

// holds waits until an expression is true, and shows the state when it stays false.
func (b *browser) holds(t *testing.T, within time.Duration, expression, state string) {
	t.Helper()
	eventually(t, within, expression, func() error {
		if value[bool](t, b, "Boolean("+expression+")") {
			return nil
		}
		return fmt.Errorf("state: %s; console: %v", value[string](t, b, "JSON.stringify("+state+") ?? 'undefined'"), b.said())
	})
}

// picture takes a screenshot of the window.
func (b *browser) picture(t *testing.T) []byte {
	t.Helper()
	shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatalf("take screenshot: %v", err)
	}
	return shot
}

// showsPicture checks that the part of a screenshot under an element is neither black nor of one colour.
func (b *browser) showsPicture(t *testing.T, shot []byte, selector string) {
	t.Helper()
	whole, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatalf("decode screenshot: %v", err)
	}
	box := value[[]int](t, b, fmt.Sprintf(
		`(() => { const r = document.querySelector(%q).getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom].map(Math.round); })()`, selector))
	part := image.Rect(box[0], box[1], box[2], box[3]).Intersect(whole.Bounds())
	if part.Dx() < 160 || part.Dy() < 90 {
		t.Fatalf("%s covers %v of a screenshot of %v", selector, part, whole.Bounds())
	}
	mean, variance := luminance(whole, part)
	t.Logf("%s: mean luminance %.0f, variance %.0f", selector, mean, variance)
	if variance < varianceMin {
		t.Errorf("the picture is uniform: luminance mean %.1f, variance %.1f, want at least %d", mean, variance, varianceMin)
	}
}

func luminance(m image.Image, part image.Rectangle) (mean, variance float64) {
	var sum, squares, n float64
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			r, g, b, _ := m.At(x, y).RGBA()
			l := (0.2126*float64(r) + 0.7152*float64(g) + 0.0722*float64(b)) / 257 // BT.709
			sum, squares, n = sum+l, squares+l*l, n+1
		}
	}
	mean = sum / n
	return mean, squares/n - mean*mean
}
