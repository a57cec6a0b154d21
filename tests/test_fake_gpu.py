"""The fake GPU on itself: what a GPU refuses it refuses, and what makes the host wait it tells."""

import copy

import pytest
import torch
from torch import nn

from tests.fake_gpu import CUDA, FakeGpu, GpuTensor, MixedDevices


@pytest.fixture
def there(gpu):
    return torch.arange(6.0).to(CUDA)


def test_tensors_say_where_they_are(gpu, there):
    assert (there + 1).device == CUDA and (there + 1).is_cuda and torch.zeros(2, device="cuda:0").is_cuda
    assert there.new_zeros(3).is_cuda and torch.zeros_like(there).is_cuda and not torch.zeros(2).is_cuda
    assert there.cpu().tolist() == list(range(6)) and there.half().cpu().dtype == torch.float16


def test_devices_do_not_mix(gpu, there):
    for mixed in (
        lambda: there + torch.ones(6),
        lambda: torch.cat([there, torch.ones(1)]),
        lambda: there @ torch.ones(6),
    ):
        with pytest.raises(MixedDevices):
            mixed()
    assert (there * torch.tensor(2.0)).is_cuda  # a number
    with pytest.raises(TypeError, match="cuda:0"):
        there.numpy()


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 1).all()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x[x > 1],
        lambda x: (x > 1).nonzero(),
        lambda x: x.new_tensor([1.0]),
        lambda x: torch.tensor([1.0], device=CUDA),
        lambda x: torch.ones(3).to(CUDA),
        lambda x: torch.ones(3).to(CUDA, non_blocking=True),
        lambda x: torch.cuda.synchronize(),
    ],
)
def test_waits_are_told(gpu, there, wait):
    gpu.reset()
    wait(there)
    assert len(gpu.waits) == 1


def test_what_does_not_wait(gpu, there):
    gpu.reset()
    torch.ones(3).pin_memory().to(CUDA, non_blocking=True)
    there.add_(1).view(2, 3).index_select(0, torch.zeros(1, dtype=torch.long, device=CUDA))
    assert gpu.waits == [] and len(gpu.uploads) == 1


def test_kernels_are_counted(gpu, there):
    gpu.reset()
    y = (there * 2).view(2, 3).T
    y.relu_()
    torch.empty(3, device=CUDA)
    assert gpu.kernels == 2 and gpu.operators == {"mul": 1, "relu_": 1}


def test_a_network_learns_as_on_the_host():
    here = nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(3))
    x = torch.randn(2, 2, 4, 4, 4)
    here(x)
    there = copy.deepcopy(here)
    with FakeGpu() as gpu:
        there.to(CUDA)
        assert all(isinstance(value, GpuTensor) for value in there.state_dict().values())
        with torch.autocast("cuda", dtype=torch.bfloat16):
            assert there(x.to(CUDA)).dtype == torch.bfloat16
        there.load_state_dict({name: value.to(CUDA) for name, value in here.state_dict().items()})
        gpu.reset()
        loss = there(x.to(CUDA)).square().sum()
        loss.backward()
        assert len(gpu.waits) == 1  # for x
        grads = [parameter.grad.cpu() for parameter in there.parameters()]
        mean = there[1].running_mean.cpu()
        copied = copy.deepcopy(there)
        assert isinstance(copied[0].weight, nn.Parameter) and copied[0].weight.is_cuda
    here(x).square().sum().backward()
    for grad, parameter in zip(grads, here.parameters(), strict=True):
        torch.testing.assert_close(grad, parameter.grad)
    torch.testing.assert_close(mean, here[1].running_mean)
