"""What the networks ask of a GPU: launches that do not grow with the batch, and no wait that is not documented."""

import itertools

import pytest
import torch
from torch import nn

from slowfast_atfr.config import load_cfg, num_pathways
from slowfast_atfr.models import build_model, fold_norms
from slowfast_atfr.packed import to_frames
from slowfast_atfr.reproduce.benchmarks.force_bins import force_bins
from slowfast_atfr.sgs import SegmentSGS
from slowfast_atfr.sgs.segments import SEGMENT_MAPS
from tests.fake_gpu import CUDA

NETWORKS = {  # config, and what makes it thin; all have the depth of the real one
    "X3D-S": ("Kinetics/X3D_S", "X3D.BOTTLENECK_FACTOR", "1.0", "X3D.DIM_C5", "32"),
    "SlowFast": ("SSv2/SLOWFAST_8x8_R50", "RESNET.WIDTH_PER_GROUP", "32", "DATA.NUM_FRAMES", "32"),
    "3DResNet-18": ("Mini_Kinetics/3DRESNET18", "RESNET.WIDTH_PER_GROUP", "16", "DATA.NUM_FRAMES", "16"),
}
SMALL = ["DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32", "MODEL.NUM_CLASSES", "4"]
LOCAL = ["BN.NORM_TYPE", "batchnorm"]
TWICE = ["SGS.STAGES", "[res2, res3]"]
SEGMENTS = ["SGS.GROUPING", "segments", "SGS.TARGET_MAPS", "[2]", "SGS.FEATURES", "grid"]
MORE = 8  # kernels that eight times as many clips may take beyond those of the fewer


def network_of(name, repo, *pairs, atfr=True):
    config, *thin = NETWORKS[name]
    file = repo / "configs" / f"{config}{'_ATFR' * atfr}.yaml"
    cfg = load_cfg(str(file), [*SMALL, *LOCAL, *thin, *pairs])
    network = build_model(cfg)
    force_bins(network, 0.5)  # of different lengths, clip by clip
    return network.to(CUDA), cfg


def clips_of(cfg, batch):
    frames = torch.randn(batch, cfg.DATA.NUM_FRAMES, 32, 32, 3, device=CUDA).permute(0, 4, 1, 2, 3)
    slow = frames[:, :, :: cfg.SLOWFAST.ALPHA].contiguous(memory_format=torch.channels_last_3d)
    return [slow, frames] if num_pathways(cfg) == 2 else [frames]


def forward_kernels(gpu, network, cfg, batch):
    """Of a forward in evaluation, norms folded where they are."""
    clips = clips_of(cfg, batch)
    gpu.reset()
    with torch.inference_mode():
        network.eval()(clips)
    return gpu.kernels


def step_kernels(gpu, network, cfg, batch):
    """Of a forward in training, the loss and the backward pass."""
    clips, labels = clips_of(cfg, batch), torch.zeros(batch, dtype=torch.long, device=CUDA)
    network.zero_grad()
    gpu.reset()
    nn.functional.cross_entropy(network.train()(clips), labels).backward()
    return gpu.kernels


STAGES = {"one stage": (), "two stages": TWICE, "segments": SEGMENTS}
QUICK = [("3DResNet-18", stages) for stages in STAGES]


@pytest.mark.parametrize(
    ("name", "stages", "batches"),
    [
        *((*case, (4, 32)) for case in QUICK),
        *(pytest.param(*case, (8, 64), marks=pytest.mark.slow) for case in itertools.product(NETWORKS, STAGES)),
    ],
)
def test_kernels_do_not_grow_with_the_batch(gpu, repo, name, stages, batches):
    network, cfg = network_of(name, repo, *STAGES[stages])
    few, many = (step_kernels(gpu, network, cfg, batch) for batch in batches)
    assert many <= few + MORE
    fold_norms(network.eval())
    few, many = (forward_kernels(gpu, network, cfg, batch) for batch in batches)
    assert many <= few + MORE


@pytest.mark.parametrize("segment_map", SEGMENT_MAPS)
def test_segments_launch_no_more_kernels_for_more_clips(gpu, segment_map):
    layer, kernels = SegmentSGS(4, 3, loss="motion", segment_map=segment_map).to(CUDA), []
    for batch in (4, 32):
        clips = torch.randn(batch, 4, 8, 6, 6, device=CUDA).requires_grad_()
        gpu.reset()
        to_frames(layer(clips))[0].sum().backward()
        kernels.append(gpu.kernels)
    assert kernels[1] <= kernels[0] + MORE


def test_a_forward_of_x3d(gpu, repo):
    network, cfg = network_of("X3D-S", repo)
    assert forward_kernels(gpu, fold_norms(network.eval()), cfg, 64) <= 450
    base, cfg = network_of("X3D-S", repo, atfr=False)
    assert forward_kernels(gpu, fold_norms(base.eval()), cfg, 64) == 289


def test_a_training_step_of_slowfast(gpu, repo):
    (network, cfg), (base, base_cfg) = network_of("SlowFast", repo), network_of("SlowFast", repo, atfr=False)
    assert step_kernels(gpu, network, cfg, 8) <= 1.5 * step_kernels(gpu, base, base_cfg, 8)
