"""Networks by name and plain arguments."""

import doctest

import pytest
import torch

from slowfast_atfr import SGS, create_model
from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine import create

NAME = "Kinetics/X3D_S_ATFR"
SMALL = {"X3D__WIDTH_FACTOR": 1.0, "X3D__DEPTH_FACTOR": 1.0}


@pytest.fixture
def weights(tmp_path):
    """Of the network without SGS, for ten classes."""
    torch.manual_seed(1)
    model = create_model("Kinetics/X3D_S", num_classes=10, **SMALL)
    torch.save({"model_state": model.state_dict()}, tmp_path / "base.pyth")
    return tmp_path / "base.pyth", model.state_dict()


def test_the_examples_of_the_docstring():
    found = doctest.testmod(create)
    assert found.attempted > 4 and found.failed == 0


def test_plain_arguments_are_keys_of_the_config():
    keys = {"SGS__NUM_BINS": [4], "SGS__KERNEL": "linear_mean", "MODEL__DROPOUT_RATE": 0.0}
    model = create_model(NAME, num_classes=7, **keys, **SMALL)
    assert model.head.projection.out_features == 7 and model.training
    (layer,) = [module for module in model.modules() if isinstance(module, SGS)]
    assert layer.num_bins == 4


def test_weights_of_the_base_serve_the_network_with_sgs(weights):
    path, state = weights
    model = create_model(NAME, path, num_classes=10, **SMALL)
    own = model.state_dict()
    assert set(state) < set(own) and all(torch.equal(own[name], value) for name, value in state.items())


def test_another_number_of_classes_has_a_new_classifier(weights):
    path, state = weights
    model = create_model(NAME, pretrained=str(path), num_classes=3, **SMALL)
    assert model.head.projection.out_features == 3
    name = next(iter(state))
    assert torch.equal(model.state_dict()[name], state[name])


def test_the_folder_of_a_run_has_weights(weights):
    path, state = weights
    (path.parent / "checkpoints").mkdir()
    path.rename(path.parent / "checkpoints" / "checkpoint_epoch_00001.pyth")
    model = create_model("Kinetics/X3D_S", path.parent, num_classes=10, **SMALL)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Kinetics/X3D_S_ATRF", {}, ["Kinetics/X3D_S_ATRF", "did you mean Kinetics/X3D_S_ATFR"]),
        (NAME, {"num_frames": 8}, ["create_model: unknown key num_frames", "DATA.NUM_FRAMES"]),
        (NAME, {"SGS__KERNEL": "cubic"}, ["SGS.KERNEL is 'cubic'", "linear"]),
        (NAME, {"num_classes": "ten"}, ["create_model: MODEL.NUM_CLASSES is 'ten'", "whole number"]),
        (NAME, {"pretrained": "gone.pyth"}, ["pretrained is 'gone.pyth'", "no such file"]),
        (NAME, {"pretrained": "."}, ["pretrained is the folder '.'", "no checkpoint"]),
    ],
)
def test_what_cannot_be_built_is_told(tmp_path, monkeypatch, name, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as error:
        create_model(name, **arguments)
    for word in words:
        assert word in str(error.value)


def test_a_classifier_is_never_left_random_unasked(weights):
    with pytest.raises(ConfigError, match=r"head.projection.bias: \(10,\), here \(400,\).*give num_classes"):
        create_model(NAME, pretrained=weights[0], **SMALL)
    with pytest.raises(ConfigError, match="are not those of this model"):
        create_model("Kinetics/SLOW_8x8_R50", pretrained=weights[0], num_classes=10)
