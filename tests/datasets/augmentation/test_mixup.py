"""Clips and labels are mixed in the same shares, by draws that depend on seed, epoch, iteration and rank only."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from slowfast_atfr.datasets.augmentation.mixup import Mix, batch_rng, draw_mix
from slowfast_atfr.engine.metrics.topk import topk_correct


@pytest.fixture
def mixing(cfg):
    cfg.MIXUP.ENABLE = True
    return cfg


def draw(cfg, times=3000, height=40, width=60):
    rng = np.random.default_rng(0)
    return [draw_mix(cfg, height, width, rng) for _ in range(times)]


def clips(count=4):
    return torch.arange(count).float()[:, None, None, None, None].expand(count, 3, 2, 40, 60).clone()


def test_mixup_is_the_weighted_mean_with_the_mirrored_clip():
    slow, fast = clips(), torch.randn(4, 3, 8, 40, 60).contiguous(memory_format=torch.channels_last_3d)
    before = fast.clone()
    Mix(0.7).mix_clips([slow, fast])
    assert slow[:, 0, 0, 0, 0].tolist() == pytest.approx([0.9, 1.3, 1.7, 2.1])
    torch.testing.assert_close(fast, 0.7 * before + 0.3 * before.flip(0))
    assert fast.is_contiguous(memory_format=torch.channels_last_3d)


def test_cutmix_takes_a_box_of_the_mirrored_clip():
    mixed = clips()
    Mix(1 - 200 / 2400, (10, 20, 5, 25)).mix_clips([mixed])
    inside = torch.zeros(40, 60, dtype=torch.bool)
    inside[10:20, 5:25] = True
    assert (mixed[..., inside] == torch.tensor([3, 2, 1, 0.0]).view(4, 1, 1, 1)).all()
    assert (mixed[..., ~inside] == torch.tensor([0, 1, 2, 3.0]).view(4, 1, 1, 1)).all()


def test_the_middle_clip_of_an_odd_batch_and_an_unmixed_batch_stay():
    odd = torch.randn(3, 3, 2, 8, 8)
    before = odd.clone()
    Mix(0.4).mix_clips([odd])
    torch.testing.assert_close(odd[1], before[1])
    kept = before.clone()
    Mix(1.0).mix_clips([before])
    assert torch.equal(before, kept)


def test_labels_by_hand():
    targets = Mix(0.7).mix_labels(torch.tensor([0, 3, 3]), num_classes=4, smoothing=0.2)
    expected = 0.05 + 0.8 * torch.tensor([[0.7, 0, 0, 0.3], [0, 0, 0, 1], [0.3, 0, 0, 0.7]])
    torch.testing.assert_close(targets, expected)
    torch.testing.assert_close(targets.sum(1), torch.ones(3))


def test_the_loss_of_a_mixture_is_the_mixture_of_losses():
    scores, labels = torch.randn(4, 5), torch.tensor([0, 1, 2, 3])
    mixed = cross_entropy(scores, Mix(0.3).mix_labels(labels, 5, 0.0))
    parts = [cross_entropy(scores, each) for each in (labels, labels.flip(0))]
    torch.testing.assert_close(mixed, 0.3 * parts[0] + 0.7 * parts[1])


@pytest.mark.parametrize(("share", "expected"), [(0.7, [0, 1]), (0.3, [1, 0])])
def test_a_mixture_is_right_where_its_best_class_is_one_of_its_two(share, expected):
    scores = torch.tensor([[0.3, 0.4, -0.3], [0.4, 0.1, 0.5]])  # the best of the second clip is neither
    before = scores.clone()
    merged, labels = Mix(share).one_label(scores, torch.tensor([0, 1]))
    assert labels.tolist() == expected and merged.argmax(1).tolist() == [expected[0], 2]
    assert torch.equal(merged.max(1).values, scores.max(1).values) and torch.equal(scores, before)
    assert merged.argsort(1, descending=True)[1].tolist()[1] == expected[1]  # 0 is its second best


def test_clips_of_one_label_are_judged_as_ever():
    scores, labels = torch.randn(2, 4), torch.tensor([2, 2])
    merged, kept = Mix(0.6).one_label(scores, labels)
    assert torch.equal(merged, scores) and torch.equal(kept, labels)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
def test_the_error_of_an_untrained_network_is_near_chance(share, scale):
    """Two of 101 classes are right: 98.0 %, however sure the network is of itself."""
    scores, labels = scale * torch.randn(4000, 101), torch.randint(101, (4000,))
    merged, kept = Mix(share).one_label(scores, labels)
    (correct,) = topk_correct(merged, kept, (1,))
    assert 100 * (1 - correct / 4000) == pytest.approx(100 * (1 - 2 / 101), abs=0.7)


def test_draws_have_the_configured_frequencies(mixing):
    mixing.MIXUP.PROB, mixing.MIXUP.SWITCH_PROB = 0.8, 0.25
    drawn = draw(mixing)
    assert np.mean([mix.share == 1 and mix.box is None for mix in drawn]) == pytest.approx(0.2, abs=0.03)
    assert np.mean([mix.box is not None for mix in drawn]) == pytest.approx(0.8 * 0.25, abs=0.03)
    shares = np.array([mix.share for mix in drawn if mix.box is None and mix.share < 1])
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), abs=0.01)  # of beta(0.8, 0.8)


@pytest.mark.parametrize(("alpha", "cutmix_alpha"), [(0.8, 0.0), (0.0, 1.0)])
def test_an_alpha_of_zero_switches_one_off(mixing, alpha, cutmix_alpha):
    mixing.MIXUP.ALPHA, mixing.MIXUP.CUTMIX_ALPHA = alpha, cutmix_alpha
    assert {mix.box is not None for mix in draw(mixing, 200)} == {cutmix_alpha > 0}


def test_the_share_of_cutmix_is_the_area_that_is_left(mixing):
    mixing.MIXUP.ALPHA = 0.0
    for mix in draw(mixing, 500):
        top, bottom, left, right = mix.box
        assert 0 <= top <= bottom <= 40 and 0 <= left <= right <= 60
        assert mix.share == pytest.approx(1 - (bottom - top) * (right - left) / 2400)


def test_the_generator_depends_on_seed_epoch_iteration_and_rank():
    places = [(s, e, i, r) for s in (0, 1) for e in (0, 1) for i in (0, 1) for r in (0, 1)]
    draws = [batch_rng(s, epoch=e, iteration=i, rank=r).random() for s, e, i, r in places]
    assert len(set(draws)) == len(draws)
    assert draws == [batch_rng(s, epoch=e, iteration=i, rank=r).random() for s, e, i, r in places]
    clips_own = [np.random.default_rng((s, e, i)).random() for s, e, i, _ in places]
    assert not set(clips_own) & set(draws)
