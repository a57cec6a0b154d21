"""Every line of the sweep is equal to each clip alone, values and gradients, or refused by an error with a remedy."""

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


@pytest.mark.parametrize("lengths", [(3, 3), (2, 5), (4,), (1,), (1, 1)])
@pytest.mark.parametrize("kind", IDIOMS)
def test_other_lengths(kind, lengths):
    """Clips of one length, where more is allowed, and one clip; of one frame, those that torch takes of it."""
    ends = {line: outcome(line, lengths) for line in lines(kind)}
    if max(lengths) == 1:
        ends = {line: end for line, end in ends.items() if not end.startswith("no idiom: RuntimeError")}
    bad = [f"{line}: {end}" for line, end in ends.items() if end.partition(":")[0] not in ("equal", "refused")]
    assert not bad, "\n".join(bad)


def test_the_sweep_can_fail():
    """It sees a result of the wrong clip, another shape and an error that is not ours."""
    assert outcome("x * 1 if isinstance(t, int) else x * 2", LENGTHS).startswith("wrong")
    assert outcome("x[:, :2] if isinstance(t, int) else x", LENGTHS).startswith("wrong")
    assert outcome("x if isinstance(t, int) else [][0]", LENGTHS).startswith("unclear")
