"""The classifier: pool each pathway over the clip's own frames, concatenate, drop out, project."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_atfr.models.resnet import Clips


class ResNetBasicHead(nn.Module):
    """Class scores of each clip.

    In training every pathway is averaged over time and space. In evaluation a window of pool_size slides over maps that
    are larger than those of the training crop, and the activations of its positions are averaged, as PySlowFast does.
    Time is always pooled whole: a clip that SGS has shortened is averaged over the frames that it has.

    Args:
        dims: channels of each pathway.
        num_classes: classes.
        pool_size: (height, width) of the last maps at the training crop.
        dropout_rate: before the projection.
        act: softmax or sigmoid, applied in evaluation only.
    """

    def __init__(
        self, dims: tuple[int, ...], num_classes: int, *, pool_size: tuple[int, int], dropout_rate: float, act: str
    ) -> None:
        super().__init__()
        self.pool_size = pool_size
        self.dropout = nn.Dropout(dropout_rate)
        self.projection = nn.Linear(sum(dims), num_classes)
        self.act = nn.Softmax(dim=-1) if act == "softmax" else nn.Sigmoid()

    def forward(self, pathways: list[Clips]) -> Tensor:
        """One (N, C, T, H, W) for each pathway -> (N, num_classes); logits in training, probabilities otherwise."""
        means = [F.adaptive_avg_pool3d(x, (1, None, None)) for x in pathways]  # (N, C, 1, H, W), dense from here on
        maps = torch.cat(means, dim=1).squeeze(2)
        if self.training:
            return self.projection(self.dropout(maps.mean((2, 3))))
        window = [min(size, limit) for size, limit in zip(maps.shape[2:], self.pool_size, strict=True)]
        positions = F.avg_pool2d(maps, window, stride=1).permute(0, 2, 3, 1)  # (N, H', W', C)
        return self.act(self.projection(self.dropout(positions))).mean((1, 2))
