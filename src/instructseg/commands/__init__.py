"""The commands of `instructseg`, one per file; `instructseg.cli` registers them."""
