"""The public stateless functions: they check their arguments and say what they compute.

import ganfast.functional as GF

loss = GF.discriminator_loss(critic(real), critic(fake.detach()), game="hinge")
"""

from ganfast.functional.interpolate import interpolate
from ganfast.functional.losses import discriminator_loss, generator_loss
from ganfast.functional.penalty import PenaltyAndNorms, penalty_from_gradient

__all__ = [
    "PenaltyAndNorms",
    "discriminator_loss",
    "generator_loss",
    "interpolate",
    "penalty_from_gradient",
]
