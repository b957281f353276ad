"""Benchmarks: each prints a table of ratios from one run on one machine, peers interleaved."""
