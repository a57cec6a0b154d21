"""Mixup and cutmix of a normalised batch on its device: every clip is mixed with a partner of its batch.

Source: Zhang et al., 2018 (mixup), and Yun et al., 2019 (cutmix), in the form of timm and PySlowFast: one draw for the
whole batch, and the partner of clip i of n is clip n - 1 - i.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Mix:
    """How the clips of a batch are mixed.

    share: weight of the clip and its label; the rest is the partner's. box: (top, bottom, left, right) in pixels,
    replaced by the partner (cutmix); None: mixup.
    """

    share: float
    box: tuple[int, int, int, int] | None = None

    def mix_clips(self, pathways: Sequence[Tensor]) -> None:
        """Mix the (N, C, T, H, W) clips of every pathway, in place."""
        for clips in pathways:
            if self.box is not None:
                top, bottom, left, right = self.box
                inside = clips[..., top:bottom, left:right]
                inside.copy_(inside.flip(0))
            elif self.share < 1:
                clips.lerp_(clips.flip(0), 1 - self.share)

    def mix_labels(self, labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
        """Return (N, num_classes) float32 targets of (N,) labels; `smoothing` of each is spread over all classes."""
        own = F.one_hot(labels, num_classes).float() * (1 - smoothing) + smoothing / num_classes
        return own * self.share + own.flip(0) * (1 - self.share)

    def one_label(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and labels for counting errors: a mixture is right if its best class is one of its two.

        Args:
            scores: (N, K), higher for a likelier class.
            labels: (N,) of the clips before mixing.
        Returns:
            (N, K) scores, in which the label with the larger share has the better score of the two and the other
            -inf; (N,) the labels with the larger share.
        """
        main, other = (labels, labels.flip(0)) if self.share >= 0.5 else (labels.flip(0), labels)
        scores = scores.detach().clone()
        best = torch.maximum(scores.gather(1, main[:, None]), scores.gather(1, other[:, None]))
        scores.scatter_(1, other[:, None], float("-inf")).scatter_(1, main[:, None], best)
        return scores, main


def batch_rng(seed: int, *, epoch: int, iteration: int, rank: int) -> np.random.Generator:
    """Return the generator of a batch's mix, a function of these four, independent of those that draw clips."""
    return np.random.default_rng((seed, epoch, iteration, rank, 1))


def draw_mix(cfg: CfgNode, height: int, width: int, rng: np.random.Generator) -> Mix:
    """Draw a mix for clips of this size in pixels, by MIXUP; share 1 does not change the batch."""
    mixup = cfg.MIXUP
    if rng.random() >= mixup.PROB:
        return Mix(1.0)
    cutmix = mixup.CUTMIX_ALPHA > 0 and (mixup.ALPHA == 0 or rng.random() < mixup.SWITCH_PROB)
    alpha = mixup.CUTMIX_ALPHA if cutmix else mixup.ALPHA
    share = float(rng.beta(alpha, alpha))
    if not cutmix:
        return Mix(share)
    high, wide = (int(side * math.sqrt(1 - share)) for side in (height, width))
    middle_y, middle_x = rng.integers(0, (height, width)).tolist()
    top, bottom = max(middle_y - high // 2, 0), min(middle_y + high // 2, height)
    left, right = max(middle_x - wide // 2, 0), min(middle_x + wide // 2, width)
    return Mix(1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))
