"""Every objective in models.make.OBJECTIVES does what its method claims, and its control does not."""

from importlib import import_module
from importlib.util import find_spec
from math import isfinite

import pytest

from models.make import OBJECTIVES


@pytest.mark.parametrize("name", OBJECTIVES)
def test_method_does_what_it_claims_and_its_control_does_not(name):
    if find_spec(f"tests.checks.{name}") is None:
        pytest.fail(f"objective {name!r} has no check: write tests/checks/{name}.py with a function measure() -> Check")
    check = import_module(f"tests.checks.{name}").measure()
    told = f"{check.what}: {check.figure:.4g}, control {check.control:.4g}, bound {check.bound:.4g}"
    assert isfinite(check.control) and check.passes(check.figure), f"{told}: the method fails"
    assert not check.passes(check.control), f"{told}: the control passes, so this proves nothing"
