"""Matrix square roots, the trace of one, and the statistics that they are taken of."""
