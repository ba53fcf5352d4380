package main

// The command for a store that does not start: it reports, and acts when told to.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
)

const repairWait = 10 * time.Minute

type repair struct {
	data
	Yes bool `flag:"yes" env:"HELIOGRAPH_YES" group:"store" help:"repair; without it, only say what would become of what"`
}

func (c *repair) run(ctx context.Context, out io.Writer) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, repairWait)
	defer cancel()
	r, err := service.RepairStore(ctx, dir, c.Yes)
	if err != nil {
		return err
	}
	if r.Damage == "" {
		_, err := fmt.Fprintln(out, "the store is intact: there is nothing to repair")
		return err
	}
	if err := describe(out, r); err != nil {
		return err
	}
	if !c.Yes {
		return errors.New("the store is damaged, and was left as it is: run again with --yes to go on with what is whole")
	}
	return nil
}

// describe lists what is not intact, one line each, and counts the rest.
func describe(out io.Writer, r backplane.Repaired) error {
	fmt.Fprintf(out, "damage   %s\n", r.Damage)
	intact := 0
	for _, one := range r.Resources {
		switch one.State {
		case backplane.Intact:
			intact++
		case backplane.Lost:
			fmt.Fprintf(out, "lost     %s %s\n", one.Kind, one.Name)
		default:
			fmt.Fprintf(out, "saved    %s %s: %s\n", one.Kind, one.Name, one.State)
		}
	}
	if r.Blind {
		fmt.Fprintln(out, "unknown  the manifest is unreadable: there may have been more than the store's log tells of")
	}
	if r.Aside != "" {
		fmt.Fprintf(out, "aside    %s holds the damaged store: keep it until nothing is missed\n", r.Aside)
	}
	_, err := fmt.Fprintf(out, "intact   %d\n", intact)
	return err
}
