"""What goes wrong in a job and not in a device: it hangs, a rank lags, its loss is no number, it crashes on hardware.

`reports` reads what the program says, `steps`, `losses`, `ranks` and `crash` judge (pure), `stacks` looks into its
processes, and `watch` runs beside each attempt. Watches of one gang ask each other by `gang`, for `lags` and hangs.
"""
