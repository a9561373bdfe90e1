"""The tests of the Triton interpreter once more, with the same bounds, on the hardware."""

import torch

if torch.cuda.is_available():
    from test_interpreted_features import *  # noqa: F403
    from test_interpreted_functional import *  # noqa: F403
    from test_interpreted_losses import *  # noqa: F403
    from test_interpreted_noise import *  # noqa: F403
    from test_interpreted_penalty import *  # noqa: F403
    from test_interpreted_preprocess import *  # noqa: F403
else:

    def test_formulas():
        raise AssertionError("stands for the interpreter's tests where there is no GPU")
