import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_atfr.packed import PackedClips, pack, sizes_of, unpack, with_sizes
from slowfast_atfr.packed.clips import packed_strides
from slowfast_atfr.packed.dispatch import call
from slowfast_atfr.packed.elementwise import NAMES

LENGTHS = (2, 5, 1, 5)


@pytest.fixture
def x(make_clips):
    return pack(make_clips(LENGTHS))


@pytest.mark.parametrize(
    "module",
    [
        nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(), nn.LeakyReLU(), nn.ELU(),
        nn.SELU(), nn.CELU(), nn.GELU(), nn.Mish(), nn.Softplus(), nn.Softsign(), nn.LogSigmoid(), nn.Sigmoid(),
        nn.Tanh(), nn.Threshold(0.1, 0.2), nn.Identity(), nn.Dropout().eval(),
    ],
    ids=lambda module: type(module).__name__,
)  # fmt: skip
def test_activations(check_alone, module):
    check_alone(module, LENGTHS, round_to=2)


UNARY = """relu relu6 hardtanh silu hardswish hardsigmoid leaky_relu elu selu celu gelu mish softplus softsign
    logsigmoid sigmoid tanh neg square sqrt rsqrt reciprocal exp log abs isnan isinf isfinite clone detach float double
    half bfloat16 cpu zeros_like ones_like relu_ hardtanh_ leaky_relu_ elu_ sigmoid_ tanh_ softshrink hardshrink
    tanhshrink rrelu negative exp2 expm1 log2 log10 log1p absolute sign sin cos erf floor ceil round trunc nan_to_num
    logical_not int long bool sqrt_ exp_ abs_ square_ selu_ celu_ zero_
    tan asin acos atan sinh cosh asinh acosh atanh arctan frac sgn signbit sinc erfc erfinv lgamma digamma logit logit_
    deg2rad rad2deg positive expit log_ndtr exp2_ expm1_ log_ log1p_ reciprocal_ rsqrt_ sin_ cos_ floor_ ceil_ round_
    logical_not_ nan_to_num_ i0 ndtr isposinf isneginf"""
BINARY = """add sub rsub mul div true_divide __rtruediv__ pow eq ne lt le gt ge clamp clamp_min clamp_max
    add_ sub_ mul_ div_ clamp_ subtract subtract_ multiply multiply_ divide divide_ true_divide_ __rfloordiv__ __rpow__
    floor_divide remainder fmod pow_ float_power clip clip_ not_equal less less_equal greater greater_equal fill_
    full_like clamp_min_ clamp_max_ greater_ remainder_"""
OTHERS = """where threshold threshold_ maximum minimum dropout alpha_dropout expand_as to cuda requires_grad_ atan2 lerp
    lerp_ addcmul addcmul_ addcdiv addcdiv_ masked_fill masked_fill_ copy_ isclose logical_and logical_or logical_xor
    bitwise_and bitwise_or bitwise_not bernoulli type_as empty_like rand_like randn_like xlogy hypot heaviside fmax fmin
    copysign logaddexp logaddexp2 nextafter ldexp bitwise_left_shift"""  # in the tests below


def test_every_function_in_every_place_where_torch_has_it():
    assert set(NAMES.split()) == {*UNARY.split(), *BINARY.split(), *OTHERS.split()}
    for names, arguments in ((UNARY, ()), (BINARY, (0.5,))):
        for name in names.split():
            functions = {getattr(home, name, None) for home in (torch, torch.Tensor, F, torch.special)} - {None}
            functions = {function for function in functions if callable(function)}
            assert functions, name
            for function in functions:
                x = pack([torch.rand(4, 2, 3, 3) + 0.1, torch.rand(4, 1, 3, 3) + 0.1])
                data = x.joined.clone()
                expected, result = function(data, *arguments), call(function, x, *arguments)
                assert torch.equal(result.joined.nan_to_num(7), expected.nan_to_num(7)), name
                assert (result is x) == (expected is data), f"{name}: in place or not, as torch does"


@pytest.mark.parametrize(
    "op",
    [
        lambda x: x + 1,
        lambda x: 1 + x,
        lambda x: x - 2,
        lambda x: 1 - x,
        lambda x: x * 2,
        lambda x: 2 * x,
        lambda x: x / 2,
        lambda x: 1 / (x * x + 1),
        lambda x: -x,
        lambda x: x**2,
        lambda x: x * x.sigmoid(),
        lambda x: x + x.relu() - x.tanh() / 2,
        lambda x: torch.add(x, x.abs(), alpha=3),
        lambda x: torch.mul(x, x.exp()),
        lambda x: x.square().add(1).log().sqrt(),
        lambda x: x.clamp(-0.5, 0.5) + torch.clamp(x, min=0.2),
        lambda x: torch.maximum(x, x.neg()) + torch.minimum(x, x * 2),
        lambda x: torch.where(x > 0, x, x * 0.1),
        lambda x: torch.zeros_like(x) + x + torch.ones_like(x),
        lambda x: x.clone(),
        lambda x: x.div(0.9) * 3,
        lambda x: torch.rsub(x, 1),
        lambda x: F.relu(x, inplace=False),
        lambda x: np.float64(2) * x + np.float32(1) - x / np.int64(2),
        lambda x: F.sigmoid(x) * F.tanh(x),
        lambda x: 2.0**x + (x.detach() * 3 // 2) * x + x % 2,
        lambda x: x.subtract(1).multiply(2).clip(-1, 1) + torch.multiply(x, x),
        lambda x: torch.lerp(x, x * 3, 0.3) + x.lerp(x.relu(), x.sigmoid()),
        lambda x: torch.addcmul(x, x, x.tanh(), value=0.5) + x.addcdiv(x, x * x + 1),
        lambda x: x.masked_fill(x > 0.5, 0.1) + torch.atan2(x, x + 7),
        lambda x: x.type_as(x.float()).double() + x.type(torch.float64) + abs(x),
        lambda x: (x * 1).lerp_(x.tanh(), 0.1).addcmul_(x, x).copy_(x * 2).masked_fill_(x < 0, 3) * x,
        lambda x: torch.where((x > 0) & ~(x > 1) | torch.logical_xor(x > 2, x < -2), x, x * 2),
        lambda x: torch.isclose(x, x * 1) * x + torch.logical_and(x > 0, x < 1).logical_or(x > 3).float() * x,
        lambda x: x * x.size(2) / (x.size(2) + 1),
        lambda x: F.threshold(x, 0.1, 0.2),
    ],
)
def test_arithmetic(check_alone, op):
    check_alone(op, LENGTHS, round_to=3)


@pytest.mark.parametrize(
    "op",
    [
        lambda x: F.relu(x, inplace=True),
        lambda x: torch.relu_(x),
        lambda x: F.silu(x, inplace=True),
        lambda x: F.leaky_relu(x, inplace=True),
        lambda x: x.sigmoid_(),
        lambda x: x.mul_(2),
        lambda x: x.__iadd__(x),
        lambda x: x.__isub__(3),
        lambda x: x.__imul__(torch.full((4, 1, 1, 1), 2.0, dtype=torch.float64)),
        lambda x: x.__itruediv__(2),
    ],
)
def test_in_place_ops_return_the_same_clips(check_alone, op):
    x = pack([torch.randn(4, 2, 3, 3), torch.randn(4, 1, 3, 3)])
    before = x.joined.clone()
    assert op(x) is x and not torch.equal(x.joined, before)
    check_alone(lambda x: op(x * 1), LENGTHS)


def test_in_place_after_every_kind_of_op(check_alone):
    """An op's output may be a view of torch's; in place, views have rules of their own."""
    for module in (
        nn.Conv3d(4, 4, 3, padding=1),
        nn.Conv3d(4, 4, 1),
        nn.MaxPool3d(3, 1, 1),
        nn.Conv3d(4, 4, (3, 1, 1)),
    ):
        check_alone(nn.Sequential(module, nn.ReLU(inplace=True), nn.Sigmoid()).double(), (4, 3, 5))
        check_alone(nn.Sequential(module, nn.ReLU(inplace=True), nn.Sigmoid()).double(), (4, 4))


def test_a_residual_sum_in_place(check_alone):
    conv = nn.Conv3d(4, 4, 3, padding=1).double()

    def block(x):
        y = conv(x)
        y += x
        return y

    check_alone(block, LENGTHS)


@pytest.mark.parametrize(
    "op",
    [
        lambda x: x * x.mean((2, 3, 4), keepdim=True).sigmoid(),
        lambda x: x.mean((2, 3, 4), keepdim=True) - x,
        lambda x: x + x.sum((1, 2, 3, 4), keepdim=True),
        lambda x: x * x.mean((1, 2), keepdim=True),
        lambda x: (x * 1).mul_(x.mean((2, 3, 4), keepdim=True)),
        lambda x: x * x.mean((2, 3, 4)).view(x.size(0), x.size(1), 1, 1, 1).expand_as(x),
        lambda x: x.sum((2, 3, 4), keepdim=True).expand_as(x),
        lambda x: x + x.mean(1, keepdim=True).expand_as(x),
    ],
)
def test_a_factor_per_clip_is_spread_over_its_frames(check_alone, op):
    check_alone(op, LENGTHS)
    check_alone(op, (3,))


@pytest.mark.parametrize("lengths", [LENGTHS, (1, 1), (4, 4), (3,)])
def test_clips_of_one_frame_broadcast_over_those_of_more(check_alone, lengths):
    """A gate by a pool whose kernel is the whole clip."""
    check_alone(lambda x: x * F.avg_pool3d(x, x.shape[2:]).sigmoid(), lengths)
    check_alone(lambda x: F.avg_pool3d(x, (x.size(2), 1, 1)) - x, lengths)
    x = pack([torch.randn(2, length, 3, 3) for length in (2, 5)])
    with pytest.raises(TypeError, match=r"add_ cannot write \(2, 5\) frames into clips of \(1, 1\)"):
        F.avg_pool3d(x, (5, 1, 1)).add_(x)


def test_new_clips_of_the_same_size(x):
    for new in (torch.empty_like(x), torch.rand_like(x), torch.randn_like(x), torch.full_like(x, 2), x.bernoulli(0.5)):
        assert isinstance(new, PackedClips) and (new.lengths, new.dtype) == (x.lengths, x.dtype)
        assert new.joined.stride() == x.joined.stride()
    assert x.type() == "torch.DoubleTensor" and x.numel() == 13 * 4 * 25 and x.element_size() == 8


@pytest.mark.parametrize(
    "shape", [(), (4, 1, 1, 1), (1, 4, 1, 1, 1), (1, 1, 1, 1, 1), (5,), (1, 4, 1, 5, 5), (4, 1, 5, 1)]
)
def test_operands_that_broadcast_over_clips_and_frames(x, shape):
    factor = torch.randn(shape, dtype=torch.float64)
    for together in (x * factor, factor * x, torch.mul(factor, x), torch.mul(x, other=factor)):
        for clip, result in zip(unpack(x), unpack(together), strict=True):
            torch.testing.assert_close(result, (clip[None] * factor)[0])


@pytest.mark.parametrize("shape", [(4, 1, 1, 1, 1), (4, 4, 1, 1, 1), (4, 4, 1, 5, 5)])
def test_operands_with_one_entry_per_clip(x, shape):
    factor = torch.randn(shape, dtype=torch.float64)
    for index, (clip, result) in enumerate(zip(unpack(x), unpack(factor - x), strict=True)):
        torch.testing.assert_close(result, factor[index] - clip)


def test_packed_operands_may_broadcast_over_channels_and_space(x):
    attention = x.mean(1, keepdim=True).sigmoid()
    assert (x * attention).shape[1] == (attention * x).shape[1] == 4
    assert (x * x.mean((3, 4), keepdim=True)).joined.stride() == x.joined.stride()


@pytest.mark.parametrize(
    "shape", [(4, 4, 5, 1, 1), (1, 4, 13, 1, 1), (4, 5, 5), (3, 4, 1, 1, 1), (4, 4, 13, 5, 5), (1,) * 6]
)
def test_other_operands_are_refused(x, shape):
    operand = torch.ones(shape, dtype=torch.float64)
    for op in (lambda: x * operand, lambda: operand + x, lambda: torch.maximum(x, operand)):
        with pytest.raises(
            TypeError, match=r"got a dense tensor of shape \(.* together with 4 packed clips of \(2, 5, 1, 5\)"
        ):
            op()


def test_different_lengths_are_refused(x, make_clips):
    other = pack(make_clips((5, 2, 1, 5)))
    with pytest.raises(
        TypeError, match=r"torch.Tensor.add got clips of \(2, 5, 1, 5\) and \(5, 2, 1, 5\).*pad_lengths"
    ):
        x + other


def test_packed_clips_are_not_written_into_a_tensor(x):
    tensor = torch.ones((), dtype=torch.float64)
    with pytest.raises(TypeError, match=r"torch.Tensor.add_ cannot write packed clips into a dense tensor"):
        tensor.add_(x)
    with pytest.raises(TypeError, match="torch.add cannot write"):
        torch.add(x, x, out=tensor)
    tensor += x  # Python falls back on tensor = tensor + x
    assert torch.equal(tensor.joined, x.joined + 1)


def test_comparisons(x):
    for op in (torch.eq, torch.ne, torch.lt, torch.le, torch.gt, torch.ge):
        assert torch.equal(op(x, 0.5).joined, op(x.joined, 0.5))
    for result, expected in [(x == x, x.joined == x.joined), (x != x, x.joined != x.joined), (x < 0, x.joined < 0)]:
        assert isinstance(result, PackedClips) and torch.equal(result.joined, expected)
    assert torch.equal((x >= 0).joined, (x.joined >= 0)) and torch.equal(torch.le(x, 0).joined, x.joined <= 0)
    assert (x <= x).joined.all() and not (x > x).joined.any() and len({x, x}) == 1
    assert x.isfinite().joined.all() and not torch.isnan(x).joined.any() and not torch.isinf(x).joined.any()


def test_casts_and_copies(x):
    for other, dtype in [
        (x.float(), torch.float32), (x.half(), torch.float16), (x.bfloat16(), torch.bfloat16),
        (x.double(), torch.float64),
        (x.to(torch.float32), torch.float32), (x.to(dtype=torch.bfloat16), torch.bfloat16), (x.cpu(), torch.float64),
        (x.to("cpu", torch.float32, non_blocking=True), torch.float32), (x.clone(), torch.float64),
        (x.clone(memory_format=torch.contiguous_format), torch.float64), (x.to("meta"), torch.float64),
    ]:  # fmt: skip
        assert other.dtype == dtype and other.lengths == x.lengths
        assert other.joined.stride() == packed_strides(other.joined.shape)
    assert x.contiguous() is x.contiguous(memory_format=torch.channels_last_3d) is x
    x.requires_grad_()
    assert (x * 2).requires_grad and not x.detach().requires_grad


def test_dropout_drops_single_values(x):
    dropped = F.dropout(torch.ones_like(x), 0.5)
    assert set(dropped.joined.unique().tolist()) == {0.0, 2.0}
    assert 0.3 < (dropped.joined == 0).double().mean() < 0.7


def test_prelu(check_alone):
    check_alone(nn.PReLU().double(), LENGTHS)
    check_alone(nn.PReLU(4, init=0.1).double(), LENGTHS)


def test_sizes_are_those_that_operands_agree_on(make_clips):
    """One whose sizes are not known takes the other's; where two disagree, none are known."""
    x = pack(make_clips((2, 1)))
    of_two, of_three = with_sizes(x, (2, 1, 3)), with_sizes(x, (1, 4, 1))
    for result in (x + of_two, of_two + x, of_two.clone().add_(x), x.clone().add_(of_two), of_two * of_two):
        assert sizes_of(result).tolist() == [2, 1, 3]
    assert sizes_of(of_two + of_three) is None and sizes_of(of_two.clone().add_(of_three)) is None
    assert sizes_of(of_two).tolist() == [2, 1, 3], "operands keep theirs"
