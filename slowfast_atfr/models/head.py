"""The classifier: pool each pathway over the clip's own frames, concatenate, drop out, project."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_atfr.packed import Clips, weighted_by_size
from slowfast_atfr.utils.exporting import is_exporting


class Head(nn.Module):
    """The common part of heads: `pool`, and `classify` by the `projection` that a subclass defines.

    In training every pathway is averaged over time and space. In evaluation a window of pool_size slides over maps that
    are larger than those of the training crop, and the activations of its positions are averaged, as PySlowFast does.
    Time is always pooled as a whole: a clip that SGS has shortened is averaged over its own frames.

    Args:
        pool_size: (height, width) of the last maps at the training crop.
        dropout_rate: before the projection.
        act: softmax or sigmoid, applied in evaluation only.
        weighted: whether each map is weighted by the number of frames that SGS has merged in it.
    """

    projection: nn.Linear

    def __init__(self, *, pool_size: tuple[int, int], dropout_rate: float, act: str, weighted: bool = False) -> None:
        super().__init__()
        self.pool_size, self.weighted = pool_size, weighted
        self.weigh = weigh_by_size  # replaced for export, where sizes are tensors
        self.dropout = nn.Dropout(dropout_rate)
        self.act = nn.Softmax(dim=-1) if act == "softmax" else nn.Sigmoid()

    def pool(self, pathways: list[Clips]) -> Tensor:
        """One (N, C, T, H, W) for each pathway -> (N, sum of C, 1, H', W'), a map for each position of the window."""
        if self.weighted:
            pathways = self.weigh(pathways)
        if is_exporting():  # ONNX has no pool to one frame
            means = [x.mean(2, keepdim=True) for x in pathways]
        else:
            means = [F.adaptive_avg_pool3d(x, (1, None, None)) for x in pathways]  # (N, C, 1, H, W), dense
        maps = torch.cat(means, dim=1)
        if self.training:
            return maps.mean((3, 4), keepdim=True)
        window = [min(size, limit) for size, limit in zip(maps.shape[3:], self.pool_size, strict=True)]
        return F.avg_pool2d(maps.squeeze(2), window, stride=1).unsqueeze(
            2
        )  # torch has no CPU kernel of avg_pool3d in half precision

    def classify(self, maps: Tensor) -> Tensor:
        """(N, C, 1, H', W') -> (N, num_classes); logits in training, probabilities otherwise."""
        scores = self.projection(self.dropout(maps.permute(0, 2, 3, 4, 1)))
        return scores.flatten(1) if self.training else self.act(scores).mean((1, 2, 3))


def weigh_by_size(pathways: list[Clips]) -> list[Clips]:
    """`weighted_by_size` of each pathway."""
    return [weighted_by_size(x) for x in pathways]


class ResNetBasicHead(Head):
    """Class scores of clips with dims channels in each pathway; the options are those of Head."""

    def __init__(self, dims: tuple[int, ...], num_classes: int, **options: Any) -> None:
        super().__init__(**options)
        self.projection = nn.Linear(sum(dims), num_classes)

    def forward(self, pathways: list[Clips]) -> Tensor:
        """One (N, C, T, H, W) for each pathway -> (N, num_classes)."""
        return self.classify(self.pool(pathways))
