"""What follows a backward pass: the optimizer's step and the clipping of weights."""
