"""Few cases out of many axes."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import pytest


def every_pair(*axes: Sequence[Any]) -> list[tuple]:
    """Cases, one value of each axis, in which any two values of two axes meet; always the same ones.

    Greedy: each next case is the one that brings most new pairs together. So the two longest axes are crossed, and the
    others ride along.
    """
    cases = {tuple(enumerate(case)) for case in product(*(range(len(axis)) for axis in axes))}
    missing = {pair for case in cases for pair in combinations(case, 2)}
    order, chosen = sorted(cases), []
    while missing:
        best = max(order, key=lambda case: sum(pair in missing for pair in combinations(case, 2)))
        missing.difference_update(combinations(best, 2))
        chosen.append(best)
    return [tuple(axis[place] for axis, (_, place) in zip(axes, case, strict=True)) for case in sorted(chosen)]


def pairs_first(*axes: Sequence[Any]) -> list:
    """Parameters of a test: every combination, those that `every_pair` leaves out marked slow."""
    quick = every_pair(*axes)
    return [case if case in quick else pytest.param(*case, marks=pytest.mark.slow) for case in product(*axes)]
