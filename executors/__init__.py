"""Ways to run a trial: `inline` in this process, `local` in one process per device, `ray`, `replay`."""
