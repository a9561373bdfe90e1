"""The two Wasserstein games as they are played: by clipping, and by a gradient penalty."""

from __future__ import annotations

CLIP, PENALTY = "WGAN-clip", "WGAN-GP"
BOUND, WEIGHT = 0.01, 10.0
CLIP_RATE = 5e-5
"""RMSprop's (Arjovsky et al. 2017)."""
PENALTY_RATE, BETAS = 1e-4, (0.0, 0.9)
"""Adam's (Gulrajani et al. 2017)."""
