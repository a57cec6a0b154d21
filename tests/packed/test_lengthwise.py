"""Modules that take the number of frames for an int, run once per distinct length; batch norms see all clips."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.packed import PackedClips, pack, run_lengthwise, unpack
from slowfast_atfr.sgs import insert_sgs
from tests.foreign import conv
from tests.foreign_idioms import SamePadding
from tests.sgs.test_insert import make_clips as still_clips
from tests.sgs.test_insert import settle

LENGTHS = (2, 5, 1, 5)


class Twice(nn.Module):
    """Two norms, and frames counted before and after them."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm1, self.norm2 = nn.Conv3d(4, 4, 3, padding=1), nn.BatchNorm3d(4), nn.BatchNorm3d(4)

    def forward(self, x):
        y = self.norm1(self.conv(x)) / float(x.size(2))
        return self.norm2(F.relu(y)) * int(x.size(2)) + x


class TwicePacked(Twice):
    """The same, with what packed clips know."""

    def forward(self, x):
        y = self.norm1(self.conv(x)) / x.size(2)
        return self.norm2(F.relu(y)) * x.size(2) + x


def test_in_evaluation_each_clip_is_as_alone(check_alone):
    module = Twice().double().eval()
    for lengths in (LENGTHS, (3,), (4, 4)):
        check_alone(lambda x: run_lengthwise(module, module.forward, x), lengths)


@pytest.mark.parametrize("lengths", [LENGTHS, (3, 3), (1, 2, 3)])
def test_in_training_norms_are_those_of_all_real_frames(make_clips, lengths):
    module, reference = Twice().double(), TwicePacked().double()
    reference.load_state_dict(module.state_dict())
    x = pack(make_clips(lengths))
    data = [x.joined.clone().requires_grad_() for _ in range(2)]
    got = run_lengthwise(module, module.forward, PackedClips(data[0], lengths))
    expected = reference(PackedClips(data[1], lengths))
    weight = torch.randn_like(x.joined)
    for result in (got, expected):
        (result.joined * weight).sum().backward()
    torch.testing.assert_close(got.joined, expected.joined)
    torch.testing.assert_close(data[0].grad, data[1].grad)
    for (name, one), other in zip(module.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=lambda text, name=name: f"{name}: {text}")
    for one, other in zip(module.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(one, other)
    assert "forward" not in vars(module.norm1)


def test_norms_that_depend_on_the_length_are_refused(make_clips):
    class Fickle(Twice):
        def forward(self, x):
            return self.norm1(x) if int(x.size(2)) > 2 else self.norm2(x)

    class Sparse(Twice):
        def forward(self, x):
            return self.norm1(x) if int(x.size(2)) > 2 else x

    for module in (Fickle().double(), Sparse().double()):
        with pytest.raises(TypeError, match="calls its batch norms differently for other lengths. Name a module with"):
            run_lengthwise(module, module.forward, pack(make_clips(LENGTHS)))
        assert "forward" not in vars(module.norm1)


def test_insert_sgs_names_the_option_and_copies_keep_it():
    def make(**options):
        net = nn.Sequential(conv(3, 4), SamePadding(4, 4, 3), nn.AdaptiveAvgPool3d(1)).double()
        return insert_sgs(net, "0", **options)

    clips = still_clips(8)
    with pytest.raises(TypeError, match=r"T of packed clips is not one number.*lengthwise=\[type of the module\]"):
        make()(clips)
    net = make(lengthwise=[SamePadding])
    settle(insert_sgs(net, "1", lengthwise=[SamePadding]), clips)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        torch.testing.assert_close(other.eval()(clips), net.eval()(clips))
        assert other[1].forward.args[0] is other[1], "the copy runs its own layers"
    with pytest.raises(ConfigError, match="lengthwise is .*it takes types of modules"):
        make(lengthwise=SamePadding)
    assert len(unpack(net[0](clips))) == 4
