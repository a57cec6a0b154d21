"""Inference side by side: the plain network gives the same scores, and every figure has its speeds and targets."""

import pytest
import torch

from slowfast_atfr.config import load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.reproduce.benchmarks.inference import (
    DENSE,
    Dense,
    Sampled,
    fast_network,
    over_base,
    over_plain,
    packed_over_padded,
    plain_network,
)
from slowfast_atfr.reproduce.benchmarks.models import LOCAL_NORMS, random_inputs

CPU = torch.device("cpu")
TINY = ("DATA.TRAIN_CROP_SIZE", "32")


@pytest.mark.parametrize("dense", DENSE)
@torch.inference_mode()
def test_plain_fast_and_built_networks_give_the_same_scores(repo, dense):
    config, scores = repo / "configs" / dense.config, []
    inputs = random_inputs(load_cfg(str(config), [*LOCAL_NORMS, *TINY]), CPU, 2)
    for build in (
        lambda: build_model(load_cfg(str(config), [*LOCAL_NORMS, *TINY])).eval(),
        lambda: fast_network(config, CPU, *TINY),
        lambda: plain_network(config, CPU, *TINY),
    ):
        torch.manual_seed(0)
        scores.append(build()(inputs))
    for other in scores[1:]:
        torch.testing.assert_close(other, scores[0], rtol=1e-3, atol=1e-6)


@torch.inference_mode()
def test_every_figure_is_a_speed_with_its_target(repo):
    shallow = ("X3D.DEPTH_FACTOR", "0.5")
    configs, few = repo / "configs", {"rounds": 1, "device": CPU, "pairs": (*TINY, *shallow)}
    dense = over_plain(Dense("tiny", "Kinetics/X3D_S.yaml", 2, 3), configs, **few)
    assert [figure.target for figure in dense] == [3, None, None]
    sampled = over_base(Sampled("tiny", "Mini_Kinetics/X3D_S.yaml", 2, 5.7, 1.5), configs, **few)
    assert "2 clips, 5.7 of 13 maps" in sampled.note and sampled.target == 1.5
    packed = packed_over_padded(configs, **few)
    assert packed.target == 1.5
    assert all(figure.least and figure.median > 0 for figure in (*dense, sampled, packed))
