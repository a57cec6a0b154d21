"""Data sets by name."""

import pytest

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets import DATASET_REGISTRY, Hmdb51, Kinetics, Ssv2, Ucf101, build_dataset


@pytest.mark.parametrize("name", ["kinetics", "Kinetics", "KINETICS"])
def test_capitals_do_not_matter(video_list, cfg, name):
    video_list(5)
    data = build_dataset(name, cfg, "val")
    assert type(data) is Kinetics and data.split == "val" and len(data) == 5


def test_registered_names():
    assert dict(DATASET_REGISTRY) == {"Kinetics": Kinetics, "Ssv2": Ssv2, "Ucf101": Ucf101, "Hmdb51": Hmdb51}


@pytest.mark.parametrize("split, key", [("train", "TRAIN"), ("val", "TRAIN"), ("test", "TEST")])
def test_an_unknown_name(cfg, split, key):
    with pytest.raises(ConfigError, match=f"{key}.DATASET is 'kinetic'; choose one of hmdb51, kinetics, ssv2, ucf101"):
        build_dataset("kinetic", cfg, split)
