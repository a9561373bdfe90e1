"""The public names of ganfast.metrics, which come with their first use."""

from __future__ import annotations

import pkgutil
from types import ModuleType

import pytest

from ganfast import metrics


@pytest.mark.parametrize("name", metrics.__all__)
def test_every_name_is_there_and_no_module(name):
    assert name in dir(metrics) and not isinstance(getattr(metrics, name), ModuleType)
    assert getattr(metrics, name) is getattr(metrics, name)


def test_no_module_hides_a_name():
    """Importing ganfast.metrics.moments would make that module the attribute ``moments``."""
    modules = {module.name for module in pkgutil.iter_modules(metrics.__path__)}
    assert modules and not modules & set(metrics.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'ganfast.metrics' has no attribute 'evaluat'"):
        _ = metrics.evaluat
