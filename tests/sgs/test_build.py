"""Every key of SGS reaches the layer that it is about."""

import pytest

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.sgs.kernels import delta
from slowfast_atfr.sgs.similarity import spherical


def test_every_key_reaches_its_layer(repo):
    pairs = """
    SGS.STAGES [res3] SGS.PATHWAYS [1] SGS.NUM_BINS [3,5] SGS.TEST_NUM_BINS [2,7] SGS.BLOCK_SIZE [2,8] SGS.EMBED_DIM 6
    SGS.SIMILARITY spherical SGS.COORDINATES angular SGS.KERNEL delta SGS.ORDER time SGS.GRAD_SCALE 0.5
    SGS.BATCHING padded SGS.PACK_MULTIPLE 4 BN.NORM_TYPE batchnorm
    """
    cfg = load_cfg(str(repo / "configs/SSv2/SLOWFAST_8x8_R50_ATFR.yaml"), pairs.split())
    model = build_model(cfg)
    assert not hasattr(model, "s2_sgs") and not hasattr(model.s3_sgs, "pathway0")
    layer = model.s3_sgs.pathway1
    assert (layer.num_bins, layer.test_num_bins, layer.block_size, layer.channels) == (5, 7, 8, 64)
    assert (layer.order, layer.batching, layer.grad_scale, layer.pack_multiple) == ("time", "padded", 0.5, 4)
    assert layer.kernel is delta and layer.embed.fc2.out_features == 6 and layer.label == "s3_sgs.pathway1"
    assert layer.similarity.func is spherical and layer.similarity.keywords == {"coordinates": "angular"}


@pytest.mark.parametrize("config", ["Kinetics/SLOWFAST_4x16_R50_ATFR.yaml", "Kinetics/X3D_S_ATFR.yaml"])
def test_the_embedding_starts_as_the_releases(repo, config):
    """Whatever the network's own initialisation does."""
    for sampler in build_model(load_cfg(str(repo / "configs" / config))).s2_sgs.children():
        embed = sampler.embed
        for weight in (embed.fc1.weight, embed.fc2.weight):
            assert weight.std().item() == pytest.approx(0.01, rel=0.25) and abs(weight.mean().item()) < 0.004
        assert not embed.fc1.bias.any() and not embed.bn.bias.any() and (embed.bn.weight == 1).all()


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("SGS.SIMILARITY spherical SGS.EMBED_DIM 1", "SGS.EMBED_DIM is 1; .*at least 2, or SGS.COORDINATES radial"),
        ("SGS.COORDINATES radial", "SGS.COORDINATES is 'radial'; .*choose all, or SGS.SIMILARITY spherical"),
        ("SGS.COORDINATES polar", "SGS.COORDINATES is 'polar'; choose one of all, angular, radial"),
        ("SGS.BATCHING ragged", "SGS.BATCHING is 'ragged'; choose one of packed, padded"),
        ("SGS.NUM_BINS [99999999999]", "SGS.NUM_BINS is .*whole numbers from 1 to 16777216, or -1"),
        ("SGS.GRAD_SCALE nan", "SGS.GRAD_SCALE is nan; it is a finite number"),
        ("TEMPORAL_SAMPLING.DISTANCE_TYPE Mahal", "SGS.SIMILARITY.*mean_mahalanobis"),
        ("TEMPORAL_SAMPLING.DROP_ZERO_BINS True", "SGS.BATCHING.*padded"),
    ],
)
def test_what_does_not_fit_is_reported_before_anything_is_built(pairs, message):
    with pytest.raises(ConfigError, match=message):
        load_cfg(None, pairs.split())
