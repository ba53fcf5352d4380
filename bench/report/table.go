package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Table writes the named fields of rows under each other. A head is the field's name without its unit,
// which stands in the cells.
func Table(w io.Writer, rows []Row, names ...string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, name := range names {
		fmt.Fprint(t, head(name), "\t")
	}
	fmt.Fprintln(t)
	for _, row := range rows {
		for _, name := range names {
			fmt.Fprint(t, cell(name, row.Get(name)), "\t")
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func head(name string) string {
	if strings.Contains(name, "_per_") {
		return strings.ReplaceAll(name, "_", " ")
	}
	for _, unit := range []string{"_s", "_bps", "_bytes", "_us"} {
		name = strings.TrimSuffix(name, unit)
	}
	return strings.ReplaceAll(name, "_", " ")
}

func cell(name string, value any) string {
	switch v := value.(type) {
	case nil:
		return "-"
	case time.Duration:
		return span(v)
	case bool:
		return map[bool]string{true: "yes", false: "NO"}[v]
	case float64:
		if strings.HasSuffix(name, "_bps") {
			return strconv.FormatFloat(v/1e6, 'f', 2, 64) + " Mbit/s"
		}
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	if n, is := value.(uint64); is && strings.HasSuffix(name, "_bytes") {
		return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB"
	}
	return fmt.Sprint(value)
}

// span writes milliseconds below a second and seconds above, so that small and large ones line up.
func span(d time.Duration) string {
	if d < time.Second {
		return strconv.FormatFloat(d.Seconds()*1e3, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + " s"
}
