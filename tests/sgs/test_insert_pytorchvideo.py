"""SGS in pytorchvideo's own networks, where it is installed: `pip install pytorchvideo`."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from slowfast_atfr.sgs import count_active, insert_sgs

pytest.importorskip("pytorchvideo")
FRAMES, SIZE = 16, 64


@pytest.fixture(autouse=True)
def _torchvision(monkeypatch):
    """Its heads import RoIAlign of torchvision, for detection only; a stand-in does where torchvision is not."""
    try:
        import torchvision.ops  # noqa: F401
    except (ImportError, RuntimeError):  # RuntimeError: it is there, but built for another torch
        ops = ModuleType("torchvision.ops")
        ops.RoIAlign = object
        monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
        monkeypatch.setitem(sys.modules, "torchvision.ops", ops)


def x3d():
    from pytorchvideo.models.x3d import create_x3d

    return create_x3d(input_clip_length=FRAMES, input_crop_size=SIZE, model_num_class=5, head_activation=None)


def r2plus1d():
    from pytorchvideo.models.r2plus1d import create_r2plus1d

    return create_r2plus1d(model_num_class=5, stem_dim_out=8, head_pool_kernel_size=(4, 2, 2))


def csn():
    from pytorchvideo.models.csn import create_csn

    return create_csn(model_num_class=5, stem_dim_out=8, head_pool_kernel_size=(1, 2, 2))


def resnet50():
    from pytorchvideo.models.resnet import create_resnet

    return create_resnet(model_num_class=5, stem_dim_out=8, head_pool_kernel_size=(FRAMES, 2, 2))


@pytest.mark.parametrize("make", [x3d, r2plus1d, csn, resnet50])
def test_a_mixed_batch_equals_its_clips_one_by_one(make):
    model = make().double()
    keys = list(model.state_dict())
    insert_sgs(model, "blocks.1")
    assert [key for key in model.state_dict() if ".sgs." not in key] == keys
    clips = torch.randn(3, 3, FRAMES, SIZE, SIZE, dtype=torch.float64)
    for index, clip in enumerate(clips):
        clip[:, 5 * index + 1 :] = clip[:, 5 * index + 1, None]
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm3d):
            module.momentum = 1.0
    model.train()(clips).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    model.eval()
    with torch.no_grad(), count_active(model) as counter:
        together = model(clips)
        (active,) = counter.read_and_reset().values()
        alone = torch.cat([model(clip[None]) for clip in clips])
    assert len(set(active)) > 1 and max(active) < FRAMES
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)
