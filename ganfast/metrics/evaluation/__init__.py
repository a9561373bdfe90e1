"""The parts of ``evaluate``: the scan of each side, its state, the result."""
