"""The losses of every game: cases, rivals, gate, limit and report."""
