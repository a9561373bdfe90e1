"""The Inception network that the Fréchet Inception Distance and the Inception Score are defined
with."""
