"""Random inputs for every parser: quick in the tests, long as a benchmark."""
