// Package charts turns reports into one HTML file that needs nothing else: tables, drawings as inline
// SVG, light and dark. In order of execution: Write splits reports into scenarios, each scenario picks
// its drawings from the rows (setup.go, fanout.go, ...), the page's template puts all together.
package charts

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"strings"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

//go:embed page.html
var pageSource string

// figure is a drawing with what explains it.
type figure struct {
	Title, Note string
	Legend      []legend
	SVG         template.HTML
	Folded      []figure // shown on demand
	Wide        bool
}

type legend struct{ Name, Colour string }

// section is a scenario.
type section struct {
	Name     string
	About    string
	Quick    bool
	Machine  report.Machine
	Figures  []figure
	Tables   []table
	Config   string
	Failures []string
	Pass     bool
}

// drawings are by scenario; a scenario without shows its rows alone.
func drawings(r *report.Report) (about string, figures []figure) {
	switch r.Scenario {
	case "setup":
		return "Offer to first decodable key frame, per viewer.", setupFigures(r)
	case "fanout":
		return "What one stream to many viewers costs the sender.", fanoutFigures(r)
	case "latency":
		return "Capture to complete picture, ten viewers.", latencyFigures(r)
	case "camera":
		return "Pictures of GStreamer: what encoding, passing through and a crash cost.", nil
	case "mailbox":
		return "Ten viewers' candidates at one instant, through ours and what others use.", mailboxFigures(r)
	case "churn":
		return "Viewers that come and go, and what they leave behind.", nil
	case "soak":
		return "Some viewers stay, others come and go: nothing may grow.", soakFigures(r)
	case "signaling":
		return "The service: delivery, connects, memory of idle sockets.", signalingFigures(r)
	}
	return "", nil
}

// Write writes the page of all reports, in their order. They are as Read or Plain gives them.
func Write(file string, reports ...*report.Report) error {
	page := struct{ Sections []section }{}
	for _, r := range reports {
		for _, part := range r.Parts() {
			page.Sections = append(page.Sections, sectionOf(part))
		}
	}
	t, err := template.New("page").Parse(pageSource)
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

func sectionOf(r *report.Report) section {
	s := section{Name: r.Scenario, Machine: r.Machine, Failures: r.Failures, Pass: r.Pass, Tables: tablesOf(r), Config: sentence(r.Config)}
	s.Quick, _ = r.Config.Get("quick").(bool)
	s.About, s.Figures = drawings(r)
	return s
}

// sentence tells a row's fields one after the other.
func sentence(row report.Row) string {
	var parts []string
	for _, f := range row {
		if nested, is := f.Value.(report.Row); is {
			parts = append(parts, words(f.Name)+" ("+sentence(nested)+")")
			continue
		}
		parts = append(parts, words(f.Name)+" "+cell(f.Name, f.Value))
	}
	return strings.Join(parts, ", ")
}
