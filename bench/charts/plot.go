package charts

// Drawings are SVG without a size of their own: colours come from the page, so that light and dark are
// one drawing, and every mark carries what it shows for the pointer (data-tip).

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// The drawing area of a plot, in the units of its viewBox.
const (
	plotWidth   = 520.0
	wideWidth   = 1060.0
	plotHeight  = 280.0
	marginLeft  = 58.0
	marginRight = 18.0
	marginTop   = 14.0
	marginFoot  = 44.0
)

// point is one measurement; low and high are how far its rounds lay apart.
type point struct {
	x, y, low, high float64
	tip             string
}

// series are points of one colour.
type series struct {
	name   string
	colour string // a class of the page
	dashed bool
	points []point
}

// plot is a diagram of lines.
type plot struct {
	xTitle, yTitle string
	series         []series
	xLog, yLog     bool
	xTicks         []tick // none: made from the values
	wide           bool
}

type tick struct {
	at   float64
	text string
}

// scale maps values to the drawing.
type scale struct {
	low, high, from, to float64
	log                 bool
}

func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(v)
	}
	if high <= low {
		return (s.from + s.to) / 2
	}
	return s.from + (v-low)/(high-low)*(s.to-s.from)
}

// ticks are round values of the scale: decades, or about five steps of 1, 2 or 5.
func (s scale) ticks() (marks []tick) {
	if s.log {
		for exp := math.Floor(math.Log10(s.low)); exp <= math.Ceil(math.Log10(s.high)); exp++ {
			if v := math.Pow(10, exp); v >= s.low*0.999 && v <= s.high*1.001 {
				marks = append(marks, tick{v, number(v)})
			}
		}
		return marks
	}
	step := niceStep((s.high - s.low) / 5)
	for v := math.Ceil(s.low/step) * step; v <= s.high+step/1e6; v += step {
		marks = append(marks, tick{v, number(v)})
	}
	return marks
}

func niceStep(rough float64) float64 {
	if rough <= 0 || math.IsNaN(rough) || math.IsInf(rough, 0) {
		return 1
	}
	decade := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, m := range []float64{1, 2, 5} {
		if rough <= m*decade {
			return m * decade
		}
	}
	return 10 * decade
}

func number(v float64) string { return strconv.FormatFloat(round(v, 4), 'f', -1, 64) }

// round keeps so many significant digits.
func round(v float64, digits int) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	unit := math.Pow(10, float64(digits)-math.Ceil(math.Log10(math.Abs(v))))
	return math.Round(v*unit) / unit
}

func (p plot) width() float64 {
	if p.wide {
		return wideWidth
	}
	return plotWidth
}

// bounds are the least and greatest values of a plot, with room above.
func (p plot) bounds() (x, y scale) {
	x = scale{low: math.Inf(1), high: math.Inf(-1), from: marginLeft, to: p.width() - marginRight, log: p.xLog}
	y = scale{low: math.Inf(1), high: math.Inf(-1), from: plotHeight - marginFoot, to: marginTop, log: p.yLog}
	for _, s := range p.series {
		for _, q := range s.points {
			x.low, x.high = min(x.low, q.x), max(x.high, q.x)
			y.low, y.high = min(y.low, q.y), max(y.high, q.y, q.high)
		}
	}
	if p.yLog {
		y.low, y.high = math.Pow(10, math.Floor(math.Log10(y.low))), math.Pow(10, math.Ceil(math.Log10(y.high)))
	} else {
		y.low = 0
		step := niceStep(y.high / 5)
		y.high = max(math.Ceil(y.high*1.02/step), 1) * step // nothing but zeros lies on the axis
	}
	return x, y
}

// svg draws the plot; empty when there is nothing to draw.
func (p plot) svg() template.HTML {
	x, y := p.bounds()
	if x.low > x.high {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s against %s">`, p.width(), plotHeight, html.EscapeString(p.yTitle), html.EscapeString(p.xTitle))
	for _, t := range y.ticks() {
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>`, marginLeft, p.width()-marginRight, y.at(t.at), y.at(t.at))
		text(&b, marginLeft-8, y.at(t.at)+4, "end", t.text)
	}
	ticks := p.xTicks
	if ticks == nil {
		ticks = x.ticks()
	}
	for _, t := range ticks {
		if t.at >= x.low && t.at <= x.high {
			text(&b, x.at(t.at), plotHeight-marginFoot+17, "middle", t.text)
		}
	}
	text(&b, (marginLeft+p.width()-marginRight)/2, plotHeight-6, "middle", p.xTitle)
	fmt.Fprintf(&b, `<line class="axis" x1="%g" x2="%g" y1="%g" y2="%g"/>`, marginLeft, p.width()-marginRight, plotHeight-marginFoot, plotHeight-marginFoot)
	for _, s := range p.series {
		s.draw(&b, x, y)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// draw writes the line, its points, and how far apart their rounds were.
func (s series) draw(b *strings.Builder, x, y scale) {
	var path []string
	for _, q := range s.points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(q.x), y.at(q.y)))
	}
	dash := ""
	if s.dashed {
		dash = ` stroke-dasharray="6 5"`
	}
	if s.dashed || len(path) > 1 {
		fmt.Fprintf(b, `<polyline class="line %s"%s points="%s"/>`, s.colour, dash, strings.Join(path, " "))
	}
	for _, q := range s.points {
		if q.high > q.low {
			fmt.Fprintf(b, `<line class="spread %s" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, s.colour, x.at(q.x), x.at(q.x), y.at(q.low), y.at(q.high))
		}
		if !s.dashed {
			fmt.Fprintf(b, `<circle class="dot %s" r="%g" cx="%.1f" cy="%.1f" data-tip="%s"/>`, s.colour, s.radius(), x.at(q.x), y.at(q.y), html.EscapeString(q.tip))
		}
	}
}

// radius keeps many points from hiding their line.
func (s series) radius() float64 {
	if len(s.points) > 12 {
		return 2.6
	}
	return 4
}

func text(b *strings.Builder, x, y float64, anchor, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, html.EscapeString(s))
}
