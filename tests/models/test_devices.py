"""Networks with SGS on a GPU: no tensor is left on the host, and its branches give what those of a CPU give."""

import pytest
import torch
from torch import nn

from slowfast_atfr.models import build_model
from tests.fake_gpu import CUDA, FakeGpu, GpuTensor

WIDE = ["RESNET.WIDTH_PER_GROUP", "128"]  # for 16 channels in the fast pathway's strided shortcuts; see FakeGpu
CONFIGS = [
    "Kinetics/C2D_NLN_8x8_R50_ATFR.yaml",
    "Kinetics/I3D_8x8_R50_ATFR.yaml",
    "Kinetics/SLOW_8x8_R50_ATFR.yaml",
    "Kinetics/X3D_XS_ATFR.yaml",
    "Mini_Kinetics/3DRESNET18_ATFR.yaml",
    "SSv2/SLOWFAST_8x8_R50_ATFR.yaml",
]
QUICK = ["Kinetics/X3D_XS_ATFR.yaml", "Mini_Kinetics/3DRESNET18_ATFR.yaml"]


@pytest.mark.parametrize(
    ("config", "dtype"),
    [
        *[
            pytest.param(config, None, marks=[] if config in (CONFIGS[0], *QUICK) else pytest.mark.slow)
            for config in CONFIGS
        ],
        *[
            pytest.param(config, dtype, marks=[] if config in QUICK else pytest.mark.slow)
            for config in CONFIGS
            for dtype in (torch.bfloat16, torch.float16)
        ],
    ],
    ids=str,
)
def test_no_network_mixes_devices(thin_cfg, to_pathways, moving_clips, config, dtype):
    width = WIDE if "SLOWFAST" in config else []
    cfg = thin_cfg(config, *width, "X3D.DIM_C1", "16", "MODEL.DROPOUT_RATE", "0.0")
    network = build_model(cfg)
    clips = to_pathways(cfg, moving_clips(2, min(cfg.DATA.NUM_FRAMES, 16)))
    with torch.inference_mode():
        here = network.eval()(clips)
    with FakeGpu() as gpu:
        there = network.to(CUDA)
        clips = [x.to(CUDA) for x in clips]
        assert all(isinstance(value, GpuTensor) for value in there.state_dict().values())
        with torch.autocast("cuda", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            with torch.inference_mode():
                scores = there(clips)
            loss = nn.functional.cross_entropy(
                there.train()(clips).float(), torch.zeros(2, dtype=torch.long, device=CUDA)
            )
        loss.backward()
        assert all(isinstance(p.grad, GpuTensor) for p in there.parameters() if p.grad is not None)
        gpu.reset()
        scores = scores.cpu()
    if dtype is None:
        torch.testing.assert_close(scores, here, rtol=1e-3, atol=1e-4)
