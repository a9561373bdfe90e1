"""The codes of the dtypes in csrc/cpu."""

import torch

CODE = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
