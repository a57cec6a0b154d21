"""The number of temporal maps that a published cost implies."""

from dataclasses import dataclass

from fvcore.common.config import CfgNode

from slowfast_atfr.analysis import model_summary


@dataclass(frozen=True)
class Maps:
    """Mean number of temporal maps after SGS; from least to most, since published figures are rounded."""

    mean: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} ({self.least:.1f} to {self.most:.1f})"


def implied_maps(cfg: CfgNode, gflops: str) -> Maps:
    """Return the mean number of maps at which a network of one pathway has this cost.

    Each map costs the same after SGS, so the cost is linear in the number of maps.

    Args:
        cfg: of the network with SGS.
        gflops: multiply-adds x 1e-9 of a clip, as printed: "14.0" is 13.95 to 14.05.
    """
    one, two = (model_summary(cfg, [active]).gflops for active in (1, 2))
    half_digit = 0.5 * 10.0 ** -len(gflops.partition(".")[2])
    figures = (float(gflops) + shift for shift in (0, -half_digit, half_digit))
    return Maps(*(1 + (figure - one) / (two - one) for figure in figures))
