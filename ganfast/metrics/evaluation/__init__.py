"""The parts of ``evaluate``: its options, the pass over a side, its state, what it has found."""
