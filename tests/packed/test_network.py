"""Whole networks, and what trainers do to them: training, autocast, checkpointing, hooks, DDP's dataclass rule."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.checkpoint import checkpoint

from slowfast_atfr.packed import PackedClips, pack, pack_dense, unpack

LENGTHS = (3, 7, 1, 4)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.AdaptiveAvgPool3d(1), nn.Conv3d(channels, 2, 1), nn.ReLU(), nn.Conv3d(2, channels, 1)
        )

    def forward(self, x):
        return x * self.fc(x).sigmoid()


class Block(nn.Module):
    """A bottleneck that knows nothing of packed clips."""

    def __init__(self, channels: int, inner: int, temporal: int, stride: tuple) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv3d(channels, inner, (temporal, 1, 1), padding=(temporal // 2, 0, 0), bias=False),
            nn.BatchNorm3d(inner),
            nn.ReLU(inplace=True),
            nn.Conv3d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm3d(inner),
            SqueezeExcitation(inner),
            nn.SiLU(),
            nn.Conv3d(inner, channels, 1, bias=False),
            nn.BatchNorm3d(channels),
        )
        self.shortcut = nn.Sequential(nn.Conv3d(channels, channels, 1, stride, bias=False), nn.BatchNorm3d(channels))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.branch(x) + self.shortcut(x))


@pytest.fixture
def net():
    return nn.Sequential(
        nn.Conv3d(3, 4, (5, 3, 3), (1, 2, 2), (2, 1, 1), bias=False),
        nn.BatchNorm3d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        Block(4, 6, 3, (2, 1, 1)),
        Block(4, 6, 1, (1, 2, 2)),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    ).double()


@pytest.fixture
def clips():
    return [torch.randn(3, length, 12, 12, dtype=torch.float64) for length in LENGTHS]


class ListNorm(nn.BatchNorm3d):
    """Batch norm of a list of clips, over the frames of all of them: the reference of the training step."""

    def forward(self, clips):
        self.num_batches_tracked += 1
        frames = torch.cat([clip.flatten(2) for clip in clips], 2)  # (1, C, values)
        normal = nn.functional.batch_norm(
            frames, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )
        parts = normal.split([clip[0, 0].numel() for clip in clips], 2)
        return [part.view_as(clip).clone() for part, clip in zip(parts, clips, strict=True)]


def on_lists(module, clips):
    """Run the network clip by clip, (1, C, T, H, W) each, meeting in batch norms only."""
    if isinstance(module, nn.BatchNorm3d):
        return ListNorm.forward(module, clips)
    if isinstance(module, nn.Sequential):
        for child in module:
            clips = on_lists(child, clips)
        return clips
    if isinstance(module, Block):
        branch, shortcut = on_lists(module.branch, clips), on_lists(module.shortcut, clips)
        return [(a + b).relu() for a, b in zip(branch, shortcut, strict=True)]
    return [module(clip) for clip in clips]


def test_training_step_equals_clip_by_clip(net, clips):
    reference = copy.deepcopy(net)
    data = pack(clips).joined.requires_grad_()
    alone = [clip[None].requires_grad_() for clip in clips]
    together = net(PackedClips(data, LENGTHS))
    expected = torch.cat(on_lists(reference, alone))
    torch.testing.assert_close(together, expected)

    for result in (together, expected):
        nn.functional.cross_entropy(result, torch.tensor([0, 1, 2, 3])).backward()
    for grad, clip in zip(unpack(PackedClips(data.grad, LENGTHS)), alone, strict=True):
        torch.testing.assert_close(grad, clip.grad[0])
    for (name, got), other in zip(net.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(got.grad, other.grad, msg=lambda text, name=name: f"{name}: {text}")
    for (name, got), other in zip(net.named_buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(got, other, msg=lambda text, name=name: f"{name}: {text}")


def test_eval_equals_each_clip_alone(net, check_alone):
    check_alone(net.eval(), LENGTHS, channels=3, size=12)


def test_equal_lengths_equal_dense(net):
    dense = torch.randn(3, 3, 4, 12, 12, dtype=torch.float64)
    reference = copy.deepcopy(net)
    torch.testing.assert_close(net(pack_dense(dense)), reference(dense))
    for got, other in zip(net.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(got, other)


def test_a_result_does_not_depend_on_the_batch(net, clips):
    net.eval()
    together = net(pack(clips))
    for order in ([3, 1], [2], [1, 1, 0], [0, 3, 2, 1]):
        torch.testing.assert_close(net(pack([clips[index] for index in order])), together[order])


def test_checkpointing_gives_the_same_gradients(net, clips):
    plain = copy.deepcopy(net)
    x = pack(clips)
    plain(x).square().sum().backward()
    for index, module in enumerate(net):
        x = checkpoint(module, x, use_reentrant=False) if 0 < index < 6 else module(x)
    x.square().sum().backward()
    for got, other in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(got.grad, other.grad)


def test_forward_hooks_see_packed_clips(net, clips):
    lengths = []
    for module in net[:6]:
        module.register_forward_hook(lambda module, args, output: lengths.append(output.lengths))
    net(pack(clips))
    assert lengths == [LENGTHS] * 4 + [(2, 4, 1, 2)] * 2


@pytest.mark.parametrize("training", [True, False])
def test_autocast(net, clips, training):
    net.float().train(training)
    x = pack(clips).float()
    dtypes = set()
    for module in net.modules():
        if isinstance(module, nn.Conv3d | nn.BatchNorm3d | nn.AdaptiveAvgPool3d):
            module.register_forward_hook(lambda module, args, output: dtypes.add((type(module), output.dtype)))
    with torch.autocast("cpu", torch.bfloat16):
        half = net(x)
    assert (nn.Conv3d, torch.bfloat16) in dtypes and (nn.Conv3d, torch.float32) not in dtypes
    assert {dtype for module, dtype in dtypes if module is nn.AdaptiveAvgPool3d} == {torch.bfloat16}
    half.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
    torch.testing.assert_close(half.float(), net(x), rtol=0.1, atol=0.1)


def test_ddp_with_packed_output_and_unused_parameters(net, clips, tmp_path):
    """DDP looks for tensors in the output, in dataclasses too, to learn which parameters got no gradient."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        trunk = net[:6]
        trunk.unused = nn.Conv3d(1, 1, 1)
        trunk.forward = lambda x: nn.Sequential.forward(net[:6], x)
        wrapped = nn.parallel.DistributedDataParallel(trunk, find_unused_parameters=True)
        for _ in range(2):
            y = wrapped(pack(clips))
            assert y.lengths == (2, 4, 1, 2)
            y.mean((2, 3, 4)).sum().backward()
    finally:
        dist.destroy_process_group()
    assert trunk.unused.weight.grad is None and net[0].weight.grad.abs().sum() > 0


def test_drop_path_has_one_draw_per_clip():
    """As PySlowFast and timm write it: a mask of shape (N, 1, 1, 1, 1)."""
    x = pack([torch.ones(2, length, 2, 2) for length in (3, 1, 4, 2)])
    mask = torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype, device=x.device).add(0.5).floor_()
    for clip, keep in zip(unpack(x.div(0.5) * mask), mask.flatten(), strict=True):
        assert (clip == 2 * keep).all()


def test_deepcopied_networks_and_eval_without_gradients(net, clips):
    net.eval()
    with torch.no_grad():
        torch.testing.assert_close(copy.deepcopy(net)(pack(clips)), net(pack(clips)))
    with torch.inference_mode():
        torch.testing.assert_close(net(pack(clips)), torch.cat([net(clip[None]) for clip in clips]))
