"""Measured figures, each a ratio or a rate of one run: `make benchmarks`. Nothing here is asserted."""
