import numpy as np
import pytest

from slowfast_atfr.utils.ensemble import VideoScores, merge

VIEWS = {0: np.array([0.6, 0.4]), 1: np.array([0.1, 0.9]), 2: np.array([0.3, 0.7])}


def share(method, seen):
    scores = VideoScores(num_views=3, method=method)
    for view in seen:
        scores.add(7, view, 1, VIEWS[view])
    return scores


@pytest.mark.parametrize(("method", "expected"), [("sum", [1.0, 2.0]), ("max", [0.6, 0.9])])
@pytest.mark.parametrize("seen", [(0, 1, 2), (2, 0, 1), (1, 1, 2, 0, 2)])
def test_order_and_repeats_change_nothing(method, expected, seen):
    (scores,) = share(method, seen).whole.values()
    np.testing.assert_allclose(scores, expected)
    assert np.array_equal(scores, share(method, (0, 1, 2)).whole[7])


@pytest.mark.parametrize(
    "shares",
    [((0, 1, 2), ()), ((0, 1), (2,)), ((0, 1), (1, 2)), ((0, 1, 2), (0,)), ((0, 1, 2), (2, 1, 0)), ((0,), (1, 2))],
)
def test_processes_together_count_every_view_once(shares):
    merged = merge([share("sum", seen) for seen in shares])
    np.testing.assert_allclose(merged.whole[7], [1.0, 2.0])
    assert merged.parts == {} and merged.labels == {7: 1}


def test_a_video_that_lacks_views_stays_in_parts():
    merged = merge([share("sum", (0,)), share("sum", (0, 2))])
    assert sorted(merged.parts[7]) == [0, 2] and not merged.whole


def test_what_cannot_be_is_told():
    scores = share("sum", (0,))
    with pytest.raises(ValueError, match="view 3 of video 7"):
        scores.add(7, 3, 1, VIEWS[0])
    with pytest.raises(ValueError, match="video 7 has label 0 in view 1, but 1"):
        scores.add(7, 1, 0, VIEWS[0])
    with pytest.raises(ValueError, match="DATA.ENSEMBLE_METHOD is 'mean'; choose one of sum, max"):
        VideoScores(3, "mean")
