import copy
import math
import pickle

import pytest
import torch
from torch.utils import _pytree as pytree

from slowfast_atfr.packed import PackedClips, from_frames, pack, to_frames, unpack
from slowfast_atfr.packed.clips import RaggedLength, packed_strides


@pytest.fixture
def x(make_clips):
    return pack(make_clips((3, 1, 4)))


@pytest.mark.parametrize("lengths", [(5,), (1, 8), (8, 8, 3), (1,)])
@pytest.mark.parametrize("channels, size", [(4, 5), (1, 5), (4, 1), (1, 1)])
def test_pack_and_unpack_are_inverse(make_clips, lengths, channels, size):
    clips = make_clips(lengths, channels, size)
    x = pack(clips)
    assert x.joined.stride() == packed_strides(x.joined.shape)
    assert x.lengths == lengths and len(x) == len(lengths)
    for clip, back in zip(clips, unpack(x), strict=True):
        assert torch.equal(clip, back)


def test_unpack_takes_dense_clips_too():
    dense = torch.randn(2, 3, 4, 5, 5)
    for clip, back in zip(dense, unpack(dense), strict=True):
        assert torch.equal(clip, back)


@pytest.mark.parametrize(
    "clips, message",
    [
        ([], "at least one clip"),
        ([torch.zeros(2, 3, 4, 4), torch.zeros(3, 3, 4, 4)], r"clip 1 is \(3, 3, 4, 4\).* clip 0 is \(2, 3, 4, 4\)"),
        ([torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4).double()], "float64"),
        ([torch.zeros(1, 2, 3, 4, 4)], r"clips are \(C, T, H, W\)"),
    ],
)
def test_pack_refuses_what_differs_in_more_than_length(clips, message):
    with pytest.raises(ValueError, match=message):
        pack(clips)


@pytest.mark.parametrize("lengths", [(3, 1), (3, 1, 5), (4, 0, 4), (), (9, -1)])
def test_lengths_must_tile_the_data(x, lengths):
    with pytest.raises(ValueError) as error:
        PackedClips(x.joined, lengths)
    assert str(lengths) in str(error.value) and str(tuple(x.joined.shape)) in str(error.value)


@pytest.mark.parametrize("lengths", [[3, 1, 4], (3.0, 1, 4)])
def test_lengths_are_a_tuple_of_ints(x, lengths):
    with pytest.raises(ValueError, match="tuple of ints"):
        PackedClips(x.joined, lengths)


def test_strides_are_exact(x):
    with pytest.raises(ValueError, match=r"strides \(800, 200, 25, 5, 1\).* have \(800, 1, 100, 20, 4\)"):
        PackedClips(x.joined.contiguous(), x.lengths)
    trap = x.joined.squeeze(0)[None]  # channels_last_3d to is_contiguous, but a batch stride that fools torch's kernels
    assert trap.is_contiguous(memory_format=torch.channels_last_3d)
    with pytest.raises(ValueError, match="strides"):
        PackedClips(trap, x.lengths)
    assert x.with_joined(trap).joined.stride() == x.joined.stride()


@pytest.mark.parametrize("round_to", [0, 1.5])
def test_multiple_is_a_positive_int(x, round_to):
    with pytest.raises(ValueError, match="round_to"):
        PackedClips(x.joined, x.lengths, round_to=round_to)


def test_attributes(x):
    assert (x.shape[0], x.shape[1], x.shape[3], x.shape[4]) == (3, 4, 5, 5)
    assert (x.size(0), x.size(1), x.size(-1)) == (3, 4, 5)
    assert len(x.size()) == x.dim() == x.ndim == 5
    assert (x.dtype, x.device, x.is_cuda, x.requires_grad) == (torch.float64, torch.device("cpu"), False, False)
    assert x.is_floating_point() and torch.is_floating_point(x)
    assert repr(x) == "PackedClips(3 clips of (3, 1, 4) frames, 4 channels, 5x5, dtype=torch.float64, device=cpu)"
    x.requires_grad_()
    assert x.requires_grad and "requires_grad=True" in repr(x)
    with pytest.raises(AttributeError, match="no attribute 'logits'"):
        _ = x.logits
    assert not hasattr(x, "grad")


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t == 4,
        lambda t: t > 1,
        lambda t: int(t),
        lambda t: float(t),
        lambda t: bool(t - 1),
        lambda t: t * torch.ones(3),
        lambda t: torch.ones(3, 1, 1, 1, 1) / t,
        lambda t: torch.arange(t),
        lambda t: [0][t],
        lambda t: range(t),
        lambda t: {t},
    ],
)
def test_the_number_of_frames_is_no_number(x, use):
    t = x.shape[2]
    assert isinstance(t, RaggedLength) and repr(t) == "RaggedLength(3, 1, 4)"
    with pytest.raises(TypeError, match=r"T of packed clips.* not one number.* x.lengths"):
        use(t)


def test_arithmetic_with_the_number_of_frames_is_that_of_each_clip(x):
    t = x.size(2)
    results = {
        "t + 1": t + 1,
        "8 - t": 8 - t,
        "t // 2": t // 2,
        "t / 2": t / 2,
        "-t": -t,
        "t * t": t * t,
        "2 ** t": 2**t,
    }
    for text, got in results.items():
        assert repr(got) == f"RaggedLength{tuple(eval(text, {'t': length}) for length in x.lengths)}"
    assert repr(math.ceil(t / 2)) == "RaggedLength(2, 1, 2)" and repr(t % 2) == "RaggedLength(1, 1, 0)"
    assert t > 0 and not t > 4 and t == x.size(2) and t != t + 1 and t and t % 1 == 0 and max(t, 8) == 8


def test_truth_is_ambiguous(x):
    with pytest.raises(TypeError, match="ambiguous"):
        bool(x == x)


def test_copies(x):
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), copy.copy(x)):
        assert torch.equal(other.joined, x.joined) and other.lengths == x.lengths
        assert other.joined.stride() == x.joined.stride()
    assert copy.deepcopy(x).joined.data_ptr() != x.joined.data_ptr()
    carried = PackedClips(x.joined, x.lengths, round_to=4)
    assert pickle.loads(pickle.dumps(carried)).round_to == copy.deepcopy(carried).round_to == 4


def test_pytree_finds_the_tensor(x):
    assert pytree.tree_leaves({"inputs": [x]})[0] is x.joined
    doubled = pytree.tree_map(lambda data: data * 2, PackedClips(x.joined, x.lengths, round_to=4))
    assert torch.equal(doubled.joined, x.joined * 2) and (doubled.lengths, doubled.round_to) == (x.lengths, 4)


def test_ddp_finds_the_tensor(x):
    from torch.nn.parallel.distributed import _find_tensors

    assert [tensor is x.joined for tensor in _find_tensors([x])] == [True]


def test_frames_are_views(x):
    frames, lengths = to_frames(x)
    assert frames.data_ptr() == x.joined.data_ptr() and frames.is_contiguous() and lengths == x.lengths
    back = from_frames(frames, list(lengths), round_to=2)
    assert back.joined.data_ptr() == x.joined.data_ptr() and back.round_to == 2


def test_frames_of_dense_clips():
    dense = torch.randn(2, 3, 4, 5, 5)
    frames, lengths = to_frames(dense)
    assert frames.shape == (8, 5, 5, 3) and lengths == (4, 4)
    assert torch.equal(frames[5], dense[1, :, 1].permute(1, 2, 0))
    dense = dense.contiguous(memory_format=torch.channels_last_3d)
    assert to_frames(dense)[0].data_ptr() == dense.data_ptr()


def test_frames_have_four_dimensions(x):
    with pytest.raises(ValueError, match=r"\(S, H, W, C\)"):
        from_frames(torch.zeros(8, 5, 5), x.lengths)
    with pytest.raises(ValueError, match=r"\(N, C, T, H, W\)"):
        to_frames(torch.zeros(8, 5, 5))


def test_data_is_what_detach_is(x):
    """As foreign code has it: `x.data.size(2)`, `F.avg_pool3d(x, x.data.size()[-3:])`, a shortcut of `x.data`."""
    x.requires_grad_()
    assert isinstance(x.data, PackedClips) and not x.data.requires_grad and x.data.lengths == x.lengths
    assert x.data.joined.data_ptr() == x.joined.data_ptr() and repr(x.data.size(2)) == "RaggedLength(3, 1, 4)"
    assert not hasattr(torch.Tensor, "joined") and not hasattr(torch.Tensor, "rows"), "no field hides one of Tensor's"
