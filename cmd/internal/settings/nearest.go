package settings

import "fmt"

// suggest ends an error about an unknown name: with the nearest known one, if one is near.
func suggest(prefix, name string, fields []*field) string {
	best, bestDistance := "", len(name)/3+2 // that far apart two words have little in common
	for _, f := range fields {
		if f.name == "" {
			continue
		}
		if d := editDistance(name, f.name); d < bestDistance {
			best, bestDistance = f.name, d
		}
	}
	if best == "" {
		return "; --help lists all"
	}
	return fmt.Sprintf("; did you mean %s%s?", prefix, best)
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours that turn a
// into b (optimal string alignment).
func editDistance(a, b string) int {
	older, old, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		older, old, row = old, row, older
		row[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			row[j] = min(old[j]+1, row[j-1]+1, old[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
