package bench

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// The goals of what is recorded, beside that every file is valid.
const storageSkewMax = 40 * time.Millisecond

// storageFigure takes a figure of a variant from each round.
func storageFigure[T int | float64 | time.Duration](found [][]storageCost, v int, of func(storageCost) T) spread[T] {
	var values []T
	for _, round := range found {
		values = append(values, of(round[v]))
	}
	return spreadOf(values)
}

func (p storagePlan) row(found [][]storageCost, v int) report.Row {
	streams := float64(p.streams)
	row := report.Row{{Name: "variant", Value: storageName(v)}, {Name: "streams", Value: p.streams}, {Name: "rounds", Value: len(found)}}
	row = append(row, storageFigure(found, v, func(c storageCost) time.Duration {
		return time.Duration(float64(c.cpu) / c.span.Seconds() / streams)
	}).fields("cpu", "_s_per_stream_s")...)
	row = append(row, storageFigure(found, v, func(c storageCost) float64 {
		return math.Round(float64(c.bytes) / c.span.Seconds() / streams)
	}).fields("disk", "_bytes_per_stream_s")...)
	if last := len(storageVariants) - 1; v != last {
		var ratios []float64
		for _, round := range found {
			cost := func(c storageCost) float64 { return float64(c.cpu) / c.span.Seconds() }
			ratios = append(ratios, cost(round[v])/cost(round[last]))
		}
		row = append(row, spreadOf(ratios).fields("times_ffmpeg", "")...)
	}
	var files probedFiles
	for _, round := range found {
		f := round[v].files
		files.all, files.valid, files.recorded, files.missing = files.all+f.all, files.valid+f.valid, files.recorded+f.recorded, files.missing+f.missing
		files.skew = max(files.skew, f.skew)
	}
	return append(row, files.fields()...)
}

func (p probedFiles) fields() report.Row {
	return report.Row{
		{Name: "files", Value: p.all}, {Name: "files_valid", Value: p.valid}, {Name: "recorded_s", Value: p.recorded},
		{Name: "gap_s", Value: p.missing}, {Name: "av_skew_s", Value: p.skew},
	}
}

// judgeStorage draws up the rows. What is in the files is judged in a quick run, too.
func judgeStorage(r *report.Report, p storagePlan, found [][]storageCost, quick bool) {
	m := missed{}
	for v := range storageVariants {
		row := p.row(found, v)
		r.Rows = append(r.Rows, row)
		if v == 0 {
			for _, name := range []string{"recorded_s", "gap_s", "av_skew_s", "files_valid"} {
				r.Summary = append(r.Summary, report.Field{Name: name, Value: row.Get(name)})
			}
		}
		if storageVariants[v] == variantFFmpeg {
			continue // it is measured, not judged
		}
		for _, round := range found {
			switch f := round[v].files; {
			case f.all < p.streams || f.recorded == 0:
				r.Fail("%s: %d files with %v of picture of %d streams", storageName(v), f.all, f.recorded, p.streams)
			case f.valid < f.all:
				r.Fail("%s: ffmpeg has something to say of %d of %d files: %s", storageName(v), f.all-f.valid, f.all, f.said)
			case f.skew > storageSkewMax:
				r.Fail("%s: sound and picture are %v apart, the goal is %v at most", storageName(v), f.skew, storageSkewMax)
			}
			if missing := round[v].files.missing; missing > 0 {
				m.note("%s: %v of picture are missing", storageName(v), missing)
			}
		}
	}
	m.judge(r, quick)
}

func showStorage(w io.Writer, r *report.Report) error {
	err := report.Table(w, r.Rows, "variant", "streams", "cpu_s_per_stream_s", "cpu_min_s_per_stream_s", "cpu_max_s_per_stream_s",
		"disk_bytes_per_stream_s", "times_ffmpeg", "times_ffmpeg_min", "times_ffmpeg_max", "files", "files_valid", "recorded_s", "gap_s", "av_skew_s")
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	return showMissed(w, r)
}
