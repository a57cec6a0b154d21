"""How many temporal maps a published figure of multiply-adds means."""

from dataclasses import dataclass

from fvcore.common.config import CfgNode

from slowfast_atfr.analysis import model_summary


@dataclass(frozen=True)
class Maps:
    """Mean number of temporal maps that go on behind SGS; from least to most, since a figure in print is rounded."""

    mean: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} ({self.least:.1f} to {self.most:.1f})"


def implied_maps(cfg: CfgNode, gflops: str) -> Maps:
    """The mean number of maps with which a network of one pathway costs so much.

    What stands behind SGS costs the same for each map, so the multiply-adds are those of the rest and a multiple of
    these.

    Args:
        cfg: of the network with SGS.
        gflops: multiply-adds x 1e-9 of a clip, as printed: "14.0" is anything from 13.95 to 14.05.
    """
    one, two = (model_summary(cfg, [active]).gflops for active in (1, 2))
    half_digit = 0.5 * 10.0 ** -len(gflops.partition(".")[2])
    figures = (float(gflops) + shift for shift in (0, -half_digit, half_digit))
    return Maps(*(1 + (figure - one) / (two - one) for figure in figures))
