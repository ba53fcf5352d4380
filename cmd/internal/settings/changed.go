package settings

import "reflect"

// Take lets a filling of a configuration struct have the live settings of another, and tells which settings
// differed, by key: those that it has now, and those that need a restart.
func Take(into, from any) (live, fixed []string, err error) {
	mine, err := fieldsOf(into)
	if err != nil {
		return nil, nil, err
	}
	theirs, err := fieldsOf(from)
	if err != nil {
		return nil, nil, err
	}
	for i, f := range mine {
		other := theirs[i].dest
		if reflect.DeepEqual(f.dest.Interface(), other.Interface()) {
			continue
		}
		if !f.live {
			fixed = append(fixed, f.label())
			continue
		}
		live = append(live, f.label())
		f.dest.Set(other)
	}
	return live, fixed, nil
}
