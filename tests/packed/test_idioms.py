"""Every line of the sweep is equal to each clip alone, values and gradients, or refused by an error with a remedy."""

import itertools
import warnings

import pytest

from tests.packed.sweep import IDIOMS, LENGTHS, lines, outcome, outcomes

MOST_REFUSED = 30


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on what some lines use
        yield


def test_each_clip_as_alone_or_refused():
    found = list(outcomes())
    bad = [f"{line}: {end}" for _, line, end in found if end.partition(":")[0] not in ("equal", "refused")]
    assert not bad, "\n".join(bad)
    assert len(found) >= 500
    assert sum(end != "equal" for _, _, end in found) <= MOST_REFUSED


# Clips of one length, where more is allowed, and one clip; of one frame, those that torch takes of it.
OTHERS = [(3, 3), (2, 5), (4,), (1,), (1, 1)]


def check_lines(cases):
    """cases: (line, lengths)"""
    bad = []
    for line, lengths in cases:
        end = outcome(line, lengths)
        if max(lengths) == 1 and end.startswith("no idiom: RuntimeError"):
            continue
        if end.partition(":")[0] not in ("equal", "refused"):
            bad.append(f"{line} of {lengths}: {end}")
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("kind", IDIOMS)
def test_other_lengths_by_turns(kind):
    check_lines(zip(lines(kind), itertools.cycle(OTHERS)))


@pytest.mark.slow
@pytest.mark.parametrize("lengths", OTHERS)
@pytest.mark.parametrize("kind", IDIOMS)
def test_all_lines_of_other_lengths(kind, lengths):
    check_lines((line, lengths) for line in lines(kind))


def test_the_sweep_can_fail():
    """It sees a result of the wrong clip, another shape and an error that is not ours."""
    assert outcome("x * 1 if isinstance(t, int) else x * 2", LENGTHS).startswith("wrong")
    assert outcome("x[:, :2] if isinstance(t, int) else x", LENGTHS).startswith("wrong")
    assert outcome("x if isinstance(t, int) else [][0]", LENGTHS).startswith("unclear")
