"""One file for each command of `instructseg`; `instructseg.cli` puts them together."""
