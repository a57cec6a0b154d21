import pytest
import torch

from slowfast_atfr.engine.metrics.topk import topk_correct


def test_counts_by_hand():
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    counts = topk_correct(scores, torch.tensor([1, 1, 0]), (1, 2, 3))
    assert [int(count) for count in counts] == [1, 2, 3]


@pytest.mark.parametrize(
    ("scores", "labels", "ks", "told"),
    [
        ((4, 3), (5,), (1,), r"\(4, 3\) and \(5,\)"),
        ((4,), (4,), (1,), r"\(4,\) and \(4,\)"),
        ((4, 3), (4,), (1, 5), r"\(1, 5\) of 3 classes"),
        ((4, 3), (4,), (0,), r"\(0,\) of 3 classes"),
    ],
)
def test_what_does_not_fit_is_told(scores, labels, ks, told):
    with pytest.raises(ValueError, match=told):
        topk_correct(torch.zeros(scores), torch.zeros(labels, dtype=torch.long), ks)
