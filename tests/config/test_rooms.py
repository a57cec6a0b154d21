"""Rules of other packages are checked as soon as a config is loaded."""

import pytest

from slowfast_atfr.config import ARCHS, ConfigError, load_cfg
from slowfast_atfr.models import MODEL_REGISTRY, stages

WRONG = {
    "SGS.SIMILARITY": ("cubic", "magnitude"),
    "SGS.KERNEL": ("cubic", "linear_mean"),
    "MODEL.MODEL_NAME": ("MViT", "SlowFast"),
    "MODEL.LOSS_FUNC": ("hinge", "cross_entropy"),
    "SOLVER.LR_POLICY": ("warp", "cosine"),
    "SOLVER.OPTIMIZING_METHOD": ("lion", "adamw"),
    "TRAIN.DATASET": ("kinetix", "kinetics"),
    "TEST.DATASET": ("kinetix", "kinetics"),
    "DATA.SPLIT": ("7", "one split only"),
    "SOLVER.MOMENTUM": ("0", "NESTEROV"),
}


@pytest.mark.parametrize("key", WRONG)
def test_a_name_that_no_registry_has_is_refused_at_once(key):
    value, choice = WRONG[key]
    with pytest.raises(ConfigError) as error:
        load_cfg(None, [key, value, "DATA.PATH_TO_DATA_DIR", "/nowhere"])
    assert key in str(error.value) and value in str(error.value) and choice in str(error.value)


def test_a_network_that_cannot_be_made_is_refused_at_once(repo):
    with pytest.raises(ConfigError, match="MODEL.MODEL_NAME is 'X3D', which goes with MODEL.ARCH x3d"):
        load_cfg(None, ["MODEL.MODEL_NAME", "X3D"])
    x3d = str(repo / "configs" / "Kinetics" / "X3D_S.yaml")
    with pytest.raises(ConfigError, match="RESNET.NUM_GROUPS is 7, which does not divide"):
        load_cfg(x3d, ["X3D.CHANNELWISE_3x3x3", "False", "RESNET.NUM_GROUPS", "7"])
    slow = str(repo / "configs" / "Kinetics" / "SLOW_8x8_R50.yaml")
    with pytest.raises(ConfigError, match="MODEL.REPLICATE_PAD_STAGES has 'res2'"):
        load_cfg(slow, ["MODEL.REPLICATE_PAD_STAGES", "[res2]"])


def test_pyslowfasts_other_networks_are_refused_at_once(tmp_path):
    """Its reversible MViT says ARCH slow."""
    (tmp_path / "REV.yaml").write_text(
        "MODEL: {ARCH: slow, MODEL_NAME: MViT}\nDATA: {INPUT_CHANNEL_NUM: [3]}\nMVIT: {REV: {ENABLE: True}}\n"
    )
    with pytest.raises(ConfigError, match="MODEL.MODEL_NAME is 'MViT'; choose one of"):
        load_cfg(str(tmp_path / "REV.yaml"))


def test_names_of_ones_own_are_known_once_they_are_registered(monkeypatch):
    monkeypatch.setitem(MODEL_REGISTRY._obj_map, "Mine", lambda cfg: None)
    assert load_cfg(None, ["MODEL.MODEL_NAME", "Mine"]).MODEL.MODEL_NAME == "Mine"


def test_what_a_run_does_not_use_may_be_anything():
    load_cfg(None, ["TEST.ENABLE", "False", "TEST.DATASET", "charades"])


def test_every_arch_has_a_network():
    assert sorted(arch for network in ("SlowFast", "ResNet", "X3D") for arch in MODEL_REGISTRY.get(network).archs) == (
        sorted(ARCHS)
    )
    assert set(stages.ARCHS) == {*ARCHS} - {"x3d"}
