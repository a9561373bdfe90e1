"""Points between real and fake, and the penalty of a gradient that is there."""
