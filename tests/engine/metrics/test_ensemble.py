import numpy as np
import pytest

from slowfast_atfr.engine.metrics.ensemble import Result, VideoScores, merge

VIEWS = {0: ([0.6, 0.4], [3.0]), 1: ([0.1, 0.9], [1.0]), 2: ([0.3, 0.7], [5.0])}
VIEWS = {view: Result(np.array(scores), np.array(values)) for view, (scores, values) in VIEWS.items()}


def share(method, seen):
    scores = VideoScores(num_views=3, method=method)
    for view in seen:
        scores.add(7, view, 1, VIEWS[view])
    return scores


@pytest.mark.parametrize(("method", "expected"), [("sum", [1.0, 2.0]), ("max", [0.6, 0.9])])
@pytest.mark.parametrize("seen", [(0, 1, 2), (2, 0, 1), (1, 1, 2, 0, 2)])
def test_order_and_repeats_change_nothing(method, expected, seen):
    (video,) = share(method, seen).whole.values()
    np.testing.assert_allclose(video.scores, expected)
    assert video.values == [3.0] and video.num_views == 3  # a mean, whatever the method
    assert np.array_equal(video.scores, share(method, (0, 1, 2)).whole[7].scores)


@pytest.mark.parametrize(
    "shares",
    [((0, 1, 2), ()), ((0, 1), (2,)), ((0, 1), (1, 2)), ((0, 1, 2), (0,)), ((0, 1, 2), (2, 1, 0)), ((0,), (1, 2))],
)
def test_processes_together_count_every_view_once(shares):
    merged = merge([share("sum", seen) for seen in shares])
    np.testing.assert_allclose(merged.whole[7].scores, [1.0, 2.0])
    assert merged.whole[7].values == [3.0]
    assert merged.parts == {} and merged.labels == {7: 1}


def test_a_video_that_lacks_views_stays_in_parts():
    merged = merge([share("sum", (0,)), share("sum", (0, 2))])
    assert sorted(merged.parts[7]) == [0, 2] and not merged.whole
    video = merged.combine(merged.parts[7])
    assert video.num_views == 2 and video.values == [4.0]


def test_what_cannot_be_is_told():
    scores = share("sum", (0,))
    with pytest.raises(ValueError, match="view 3 of video 7"):
        scores.add(7, 3, 1, VIEWS[0])
    with pytest.raises(ValueError, match="video 7 has label 0 in view 1, but 1"):
        scores.add(7, 1, 0, VIEWS[0])
