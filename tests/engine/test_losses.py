import math

import pytest
import torch

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.engine.losses import loss_from


def loss(name):
    cfg = get_cfg()
    cfg.MODEL.LOSS_FUNC = name
    cfg.freeze()
    return loss_from(cfg)


SCORES = torch.tensor([[0.0, 0.0], [0.0, math.log(3.0)]])  # probabilities (1/2, 1/2) and (1/4, 3/4) by softmax
LABELS = torch.tensor([0, 0])


@pytest.mark.parametrize("name", ["cross_entropy", "soft_cross_entropy"])
def test_cross_entropies_by_hand(name):
    assert loss(name)(SCORES, LABELS).item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_soft_labels_are_a_mixture():
    mixed = loss("soft_cross_entropy")(SCORES, torch.tensor([[0.5, 0.5], [0.25, 0.75]])).item()
    assert mixed == pytest.approx((math.log(2) + 0.25 * math.log(4) + 0.75 * math.log(4 / 3)) / 2)


def test_binary_cross_entropies_by_hand():
    probabilities = torch.tensor([[0.5, 0.25]])
    expected = (math.log(2) + math.log(4 / 3)) / 2
    for labels in (torch.tensor([0]), torch.tensor([[1, 0]])):
        assert loss("bce_logit")(probabilities.logit(), labels).item() == pytest.approx(expected)
    both = loss("bce_logit")(probabilities.logit(), torch.tensor([[1.0, 1.0]])).item()
    assert both == pytest.approx((math.log(2) + math.log(4)) / 2)


@pytest.mark.parametrize("name", ["cross_entropy", "bce_logit", "soft_cross_entropy"])
def test_the_right_class_is_pulled_up(name):
    scores = torch.zeros(1, 3, requires_grad=True)
    loss(name)(scores, torch.tensor([1])).backward()
    assert scores.grad[0, 1] < 0 < min(scores.grad[0, 0], scores.grad[0, 2])


def test_an_unknown_loss_is_told_with_the_choices():
    choices = "bce_logit, cross_entropy, soft_cross_entropy"
    with pytest.raises(ConfigError, match=f"MODEL.LOSS_FUNC is 'mse'; choose one of {choices}"):
        loss("mse")
