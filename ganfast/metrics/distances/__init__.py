"""From what is known of the sides to numbers: FID and its uncertainty, KID, Inception Score."""
