package charts

import (
	"fmt"
	"html"
	"html/template"
	"strings"
)

// part is a piece of a bar, from one value to another.
type part struct {
	from, to float64
	colour   string
	tip      string
}

// bar is a line of a bar chart.
type bar struct {
	label string
	parts []part
	value string // written behind it
}

// bars are drawn one under the other; all begin at 0.
type bars struct {
	title string // of the axis
	lines []bar
}

const (
	barHeight   = 17.0
	barPitch    = 25.0
	barsWidth   = 960.0
	labelWidth  = 230.0
	valueWidth  = 90.0
	barsAxis    = 34.0
	barPartThin = 0.6 // a part is never narrower, so that it can be seen
)

func (c bars) svg() template.HTML {
	x := scale{from: labelWidth, to: barsWidth - valueWidth}
	for _, line := range c.lines {
		for _, p := range line.parts {
			x.high = max(x.high, p.to)
		}
	}
	if x.high == 0 {
		return ""
	}
	height := float64(len(c.lines))*barPitch + barsAxis
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, barsWidth, height, html.EscapeString(c.title))
	foot := height - barsAxis
	for _, t := range x.ticks() {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="0" y2="%g"/>`, x.at(t.at), x.at(t.at), foot)
		text(&b, x.at(t.at), foot+14, "middle", t.text)
	}
	text(&b, (x.from+x.to)/2, height-4, "middle", c.title)
	for i, line := range c.lines {
		top := float64(i)*barPitch + (barPitch-barHeight)/2
		text(&b, labelWidth-10, top+barHeight-4, "end", line.label)
		end := x.from
		for _, p := range line.parts {
			width := max(x.at(p.to)-x.at(p.from), barPartThin)
			end = max(end, x.at(p.from)+width)
			fmt.Fprintf(&b, `<rect class="fill %s" x="%.1f" y="%.1f" width="%.1f" height="%g" rx="2" data-tip="%s"/>`,
				p.colour, x.at(p.from), top, width, barHeight, html.EscapeString(p.tip))
		}
		text(&b, end+8, top+barHeight-4, "start", line.value)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}
