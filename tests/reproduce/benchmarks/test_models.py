"""Networks with and without SGS, side by side: the same clips, the same weights' sizes, half of the maps."""

import numpy as np
import pytest
import torch

from slowfast_atfr.analysis.timing import table
from slowfast_atfr.reproduce.benchmarks.models import config_pairs, measure_pair

TINY = ["DATA.TRAIN_CROP_SIZE", "32"]


def test_every_network_of_the_configs_is_measured(repo):
    names = [f"{path.parent.name}/{path.stem}" for path in config_pairs(repo / "configs")]
    assert {"Kinetics/X3D_S_ATFR", "Kinetics/SLOWFAST_8x8_R50_ATFR", "Mini_Kinetics/3DRESNET18_ATFR"} <= set(names)
    assert {name.partition("/")[0] for name in names} == {"Kinetics", "Mini_Kinetics", "SSv2"}


@pytest.mark.parametrize(
    "name", ["Mini_Kinetics/3DRESNET18", pytest.param("Kinetics/SLOWFAST_4x16_R50", marks=pytest.mark.slow)]
)
def test_a_network_beside_itself_with_sgs(repo, name):
    base, atfr = (repo / "configs" / f"{name}{suffix}.yaml" for suffix in ("", "_ATFR"))
    figure = measure_pair(base, atfr, rounds=2, device=torch.device("cpu"), pairs=TINY)
    channels = (256, 32) if "SLOWFAST" in name else (32,)
    assert figure.params[1] == sum(c * c // 2 + c // 2 + c // 2 * 8 + 2 * 8 for c in channels)
    of_base, of_all, of_half = figure.gflops
    assert of_base < of_all < 1.01 * of_base  # the embedding, counted for every frame
    before = (of_base - 2 * (of_all - of_half)) / of_base  # what is before SGS does not get cheaper
    assert 0.05 < before < 0.6
    assert len(figure.base_seconds) == len(figure.atfr_seconds) == 2
    (line,) = table([figure]).splitlines()[2:]
    assert line.startswith(f"| {name} | 32 | ") and line.count("|") == len(figure.COLUMNS) + 1


def test_figures_are_medians_of_their_rounds(repo):
    base, atfr = (repo / "configs" / f"Mini_Kinetics/3DRESNET18{suffix}.yaml" for suffix in ("", "_ATFR"))
    figure = measure_pair(base, atfr, rounds=3, device=torch.device("cpu"), pairs=TINY)
    cells = dict(zip(figure.COLUMNS, figure.cells(), strict=True))
    ratios = np.array(figure.atfr_seconds) / figure.base_seconds
    ratio = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    assert cells["time, with SGS over without"] == ratio
    assert float(cells["clips/s"]) == pytest.approx(2 / np.median(figure.base_seconds), rel=0.01)
