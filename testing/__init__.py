"""Inputs with known answers, and shims for the peers, that tests and benchmarks share."""
