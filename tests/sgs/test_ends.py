"""Segments after convolutions that pad time with zeros log a warning."""

import logging
import re

import pytest
from torch import nn

from slowfast_atfr.models import replicate_in_time
from slowfast_atfr.sgs import insert_sgs
from tests.foreign import VideoResNet, conv


@pytest.mark.parametrize(
    "after, grouping, repeats, expected",
    [
        ("layer1", "segments", False, r"up to 'layer1' .*\(stem.0, layer1.0.conv1.0, layer1.0.conv2.0 and 2 more\)"),
        ("stem", "segments", False, r"up to 'stem' .*\(stem.0\).*replicate_in_time\(module\)"),
        ("layer1", "bins", False, None),
        ("layer1", "segments", True, None),
    ],
)
def test_zeros_before_segments_are_reported(after, grouping, repeats, expected, caplog):
    net = VideoResNet(conv)
    if repeats:
        replicate_in_time(net.stem)
        replicate_in_time(net.layer1)
    with caplog.at_level(logging.WARNING):
        insert_sgs(net, after, grouping=grouping)
    assert bool(caplog.messages) == (expected is not None)
    if expected:
        assert re.search(expected, caplog.text)


def test_convolutions_after_it_do_not_count(caplog):
    net = nn.Sequential(nn.Conv3d(3, 4, 1), nn.Conv3d(4, 4, 3, padding="same"))
    insert_sgs(net, "0", grouping="segments")
    assert not caplog.messages
    insert_sgs(nn.Sequential(nn.Conv3d(3, 4, 3, padding="same")), "0", grouping="segments")
    assert "(0)" in caplog.text
