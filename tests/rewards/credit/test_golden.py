"""Our methods against the outputs of the authors' code.

Every file under ``$AGENTGYM_GOLDEN/credit`` is run through the adapter of its ``method``. Where the reference raised,
or gave NaN, ours raises ValueError.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.rewards.credit.golden_cases import GOLDEN, Case
from tests.rewards.credit.golden_methods import ADAPTERS, NOT_BUILT

pytestmark = pytest.mark.golden

FILES = sorted((GOLDEN / "credit").glob("*.json"))


def test_there_are_golden_files() -> None:
    assert FILES, f"no golden files under {GOLDEN / 'credit'}; is AGENTGYM_GOLDEN right?"


def test_a_method_is_either_built_or_named_as_not_built() -> None:
    assert not NOT_BUILT & set(ADAPTERS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_golden(path) -> None:
    case = Case.load(path)
    if case.method in NOT_BUILT:
        pytest.skip(f"{case.method} is not built yet")
    assert case.method in ADAPTERS, f"{path.name}: no adapter for method {case.method!r}"
    atol, rtol = case.tolerance
    compared = set()
    for c in ADAPTERS[case.method](case):
        compared.add(c.name)
        if not (case.was_run(c.name) or c.from_inputs):
            continue
        if c.theirs is None or not np.isfinite(np.asarray(c.theirs, dtype=np.float64)).all():
            with pytest.raises(ValueError):  # noqa: PT011 - which message is the business of each method's own test
                c.ours()
        else:
            np.testing.assert_allclose(c.ours(), c.theirs, atol=atol, rtol=rtol, err_msg=c.name)
    assert case.output_names() <= compared, f"not compared: {case.output_names() - compared}"
