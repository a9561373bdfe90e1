"""The public stateless functions: they check their arguments and say what they compute.

import ganfast.functional as GF

loss = GF.discriminator_loss(critic(real), critic(fake.detach()), game="hinge")
"""

from ganfast.functional.adaptive_weight import AdaptiveLoss, adaptive_weight
from ganfast.functional.clip import clip_weights_
from ganfast.functional.feature_matching import feature_matching_loss
from ganfast.functional.finite_difference import finite_difference_penalty
from ganfast.functional.gradient_penalty import gradient_penalty
from ganfast.functional.interpolate import interpolate
from ganfast.functional.losses import LossAndStatistics, discriminator_loss, generator_loss
from ganfast.functional.penalty import PenaltyAndNorms, penalty_from_gradient
from ganfast.functional.second_order import check_second_order
from ganfast.functional.zero_centred import lazy_adam, r1_penalty, r1_r2_penalty, r2_penalty

__all__ = [
    "AdaptiveLoss",
    "LossAndStatistics",
    "PenaltyAndNorms",
    "adaptive_weight",
    "check_second_order",
    "clip_weights_",
    "discriminator_loss",
    "feature_matching_loss",
    "finite_difference_penalty",
    "generator_loss",
    "gradient_penalty",
    "interpolate",
    "lazy_adam",
    "penalty_from_gradient",
    "r1_penalty",
    "r1_r2_penalty",
    "r2_penalty",
]
