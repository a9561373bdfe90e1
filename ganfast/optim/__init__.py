"""torch.optim's RMSprop and Adam with the update and WGAN's clip in one pass over memory.

optimizer = ganfast.optim.RMSprop(critic.parameters(), lr=5e-5, weight_clip=0.01)
"""

from ganfast.optim.adam import Adam
from ganfast.optim.rmsprop import RMSprop

__all__ = ["Adam", "RMSprop"]
