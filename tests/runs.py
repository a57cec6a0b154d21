"""What a run leaves in its folder, and whether two runs left the same."""

import json

import torch

from slowfast_atfr.engine.checkpoint.save import checkpoint_path

ONE_PATHWAY = {  # a network of half the time, where it does not matter which
    "MODEL__ARCH": "slow",
    "MODEL__MODEL_NAME": "ResNet",
    "DATA__INPUT_CHANNEL_NUM": "[3]",
    "MODEL__REPLICATE_PAD_STAGES": "[]",
    "RESNET__SPATIAL_STRIDES": "[[1], [2], [2], [2]]",
}


class Killed(BaseException):
    """Ends a run as SIGKILL would: nothing of it cleans up."""


def stats_of(folder, kind):
    """The json_stats of a kind, such as train_iter, in the order of the log."""
    lines = (folder / "stdout.log").read_text().splitlines()
    stats = [json.loads(line.partition("json_stats: ")[2]) for line in lines if "json_stats: " in line]
    return [entry for entry in stats if entry["_type"] == kind]


def last(folder, epochs):
    """The checkpoint after so many epochs."""
    return torch.load(checkpoint_path(str(folder), epochs - 1), weights_only=True)


def assert_same(one, other):
    """Two checkpoints are equal, bit by bit."""
    assert one.keys() == other.keys()
    for name in one:
        if name != "cfg":
            _same(one[name], other[name], name)


def _same(one, other, name):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), name
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), name
        for key in one:
            _same(one[key], other[key], f"{name}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), name
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            _same(left, right, f"{name}[{number}]")
    else:
        assert one == other, name
