import pytest
import torch
from torch import nn

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.models.single_values import named_norms


def test_the_norm_is_named_and_other_errors_are_left():
    net = nn.Sequential(nn.Conv3d(3, 4, 1), nn.Sequential(nn.ReLU(), nn.BatchNorm3d(4)))
    message = r"batch norm 1.1 has a single value per channel in its input \[1, 4, 1, 1, 1\]"
    with pytest.raises(ConfigError, match=message), named_norms(net):
        net(torch.randn(1, 3, 1, 1, 1))
    with pytest.raises(ValueError, match="another"), named_norms(net):
        raise ValueError("another")


@pytest.mark.parametrize("norm", ["batchnorm", "sub_batchnorm"])
def test_a_network_with_sgs_names_the_first_norm_after_the_only_map(repo, norm):
    """One clip of 32 pixels that SGS merges into one map: res5 has a single value per channel."""
    pairs = ["DATA.TRAIN_CROP_SIZE", "32", "SGS.NUM_BINS", "[1]", "SGS.BLOCK_SIZE", "[0]", "BN.NORM_TYPE", norm]
    cfg = load_cfg(str(repo / "configs/Mini_Kinetics/3DRESNET18_ATFR.yaml"), [*pairs, "RESNET.WIDTH_PER_GROUP", "16"])
    net = build_model(cfg)
    message = r"batch norm s5\.pathway0_res0.* has a single value .*SGS.NUM_BINS"
    with pytest.raises(ConfigError, match=message), named_norms(net):
        net([torch.randn(1, 3, 8, 32, 32)])
