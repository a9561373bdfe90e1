"""The public stateless functions: they check their arguments and say what they compute.

import ganfast.functional as GF

loss = GF.discriminator_loss(critic(real), critic(fake.detach()), game="hinge")
"""

from ganfast.functional.clip import clip_weights_
from ganfast.functional.losses import discriminator_loss, generator_loss

__all__ = ["clip_weights_", "discriminator_loss", "generator_loss"]
