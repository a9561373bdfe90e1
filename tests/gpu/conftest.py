"""Tests that need a CUDA GPU: collected everywhere, run where there is one (``make gpu``)."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent

# The interpreter's tests, which test_gpu_formulas.py runs on the hardware.
pytest.register_assert_rewrite(
    "oracle",
    "test_interpreted_features",
    "test_interpreted_losses",
    "test_interpreted_noise",
    "test_interpreted_functional",
    "test_interpreted_penalty",
    "test_interpreted_preprocess",
)


def why_not():
    if not torch.cuda.is_available():
        return "needs a CUDA GPU"
    return None if find_spec("triton") else "needs Triton: pip install 'ganfast[triton]'"


def pytest_collection_modifyitems(items):
    reason = why_not()
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))
