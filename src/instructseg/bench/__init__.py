"""`instructseg bench`: how fast this package is on a machine, beside the released schedule and the machine's limits."""
