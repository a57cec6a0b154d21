"""Sync batch norm as a GPU has it: the same figures, few kernels, one collective each way, no wait."""

import functools
from collections import Counter
from contextlib import ExitStack

import pytest
import torch
import torch.distributed as dist

from slowfast_atfr.models.norm import CountedBatchNorm
from slowfast_atfr.packed import PackedClips, pack
from slowfast_atfr.packed.clips import packed_strides
from tests.fake_gpu import CUDA
from tests.models.sync_kernels import install
from tests.models.test_norm import _unequal_counts
from tests.processes import run_in_processes

LAUNCHES = {"batch_norm_stats": 2, "batch_norm_backward_reduce": 2}  # sums over many blocks clear a counter before


def _by_kernels(rank):
    with ExitStack() as stack:
        install(stack)
        _unequal_counts(rank)


def test_its_figures_are_those_of_one_process(tmp_path):
    run_in_processes(_by_kernels, tmp_path, world=4)


@pytest.mark.parametrize("packed", [True, False])
def test_it_takes_few_kernels_and_one_collective_each_way(gpu, monkeypatch, packed):
    collectives = Counter()

    def all_gather_into_tensor(out, mine, group=None):
        collectives["all_gather"] += 1
        assert mine.is_cuda and out.is_cuda and out.shape == (4 * len(mine),)
        out.held.copy_(mine.held.repeat(4))

    def all_reduce(x, group=None):
        collectives["all_reduce"] += 1

    def counted(kernel):
        @functools.wraps(kernel)
        def run(*args):
            before = gpu.kernels
            result = kernel(*args)
            gpu.kernels = before + LAUNCHES.get(kernel.__name__, 1)
            return result

        return run

    monkeypatch.setattr(dist, "all_gather_into_tensor", all_gather_into_tensor)
    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    norm = CountedBatchNorm(4, group_size=4).to(CUDA)
    data = pack([torch.randn(4, length, 3, 3) for length in (2, 5)]).joined.to(CUDA).requires_grad_()
    with ExitStack() as stack:
        install(stack, counted)
        gpu.reset()
        out = norm(PackedClips(data, (2, 5))).joined if packed else norm(data)
        assert gpu.kernels == 8 and collectives == {"all_gather": 1}
        before = gpu.kernels
        out.backward(out.detach())
    assert gpu.kernels - before == 4 and collectives == {"all_gather": 1, "all_reduce": 1} and gpu.waits == []
    assert data.grad.stride() == packed_strides(data.shape)
