"""What the SGS layer costs, and what packed clips cost and save after it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast_atfr.analysis.timing import Figure, in_turn, ratio, seconds_of
from slowfast_atfr.config import load_cfg
from slowfast_atfr.models import build_model
from slowfast_atfr.packed import Clips, PackedClips, pack, pack_dense
from slowfast_atfr.reproduce.benchmarks.force_bins import ragged_lengths
from slowfast_atfr.reproduce.benchmarks.models import random_inputs
from slowfast_atfr.sgs import SGS

NETWORKS = {  # name: (config, clips of a batch in evaluation, in training, target of half the frames over all)
    "X3D-S": ("Kinetics/X3D_S.yaml", 8, 4, 0.6),
    "Slow-8x8-R50": ("Kinetics/SLOW_8x8_R50.yaml", 8, 4, 0.6),
    "3DResNet-18": ("Mini_Kinetics/3DRESNET18.yaml", 4, 2, None),
}


def benchmark_sgs(configs: Path, *, rounds: int, device: torch.device) -> list[Figure]:
    """Compare the layer with a copy of its input, and with a whole SlowFast-8x8-R50 forward."""
    return [*_layer_over_copy(rounds, device), _share_of_slowfast(configs, rounds, device)]


def _layer_over_copy(rounds: int, device: torch.device) -> list[Figure]:
    x = torch.randn(8, 256, 32, 56, 56, device=device).contiguous(memory_format=torch.channels_last_3d)
    x.requires_grad_()
    layer = SGS(256).to(device)

    def forward() -> PackedClips:
        with torch.inference_mode():
            return layer.eval()(x)

    def step() -> None:
        out = layer.train()(x)
        out.joined.backward(out.joined.detach())
        x.grad = None

    tasks = {"copy": x.detach().clone, "forward": forward, "step": step}
    seconds = in_turn(tasks, rounds=rounds, device=device, title="layer")
    lengths = forward().lengths
    note = f"{'x'.join(map(str, x.shape))}, {sum(lengths) / len(lengths):.1f} of 32 maps active"
    return [
        ratio("SGS layer, forward, over a copy of its input", seconds["forward"], seconds["copy"], target=3, note=note),
        ratio("SGS layer, forward and backward, over the copy", seconds["step"], seconds["copy"], note=note),
    ]


def _share_of_slowfast(configs: Path, rounds: int, device: torch.device) -> Figure:
    cfg = load_cfg(str(configs / "Kinetics/SLOWFAST_8x8_R50_ATFR.yaml"))
    model = build_model(cfg).to(device).eval()
    inputs = random_inputs(cfg, device)
    inside: list[float] = []
    run_layer = model.s2_sgs.forward

    def timed_layer(pathways: list[Clips]) -> list[Clips]:
        out: list[list[Clips]] = []
        inside.append(seconds_of(lambda: out.append(run_layer(pathways)), device))
        return out[0]

    model.s2_sgs.forward = timed_layer
    with torch.inference_mode():
        whole = in_turn({"whole": lambda: model(inputs)}, rounds=rounds, device=device, title="SlowFast")["whole"]
    shares = 100 * np.array(inside[-rounds:]) / whole
    note = f"{len(inputs[0])} clips at {cfg.DATA.TRAIN_CROP_SIZE}; {np.median(whole) * 1e3:.4g} ms in all"
    return Figure("SGS's share of a SlowFast-8x8-R50+ATFR forward", tuple(shares.tolist()), "%", 3, note)


def benchmark_packed(configs: Path, *, rounds: int, device: torch.device) -> list[Figure]:
    """Compare packed with dense clips in res3 to the head: clips of full length, and of half of it on average."""
    figures = []
    for name, (config, eval_batch, train_batch, limit) in NETWORKS.items():
        cfg = load_cfg(str(configs / config))
        model = build_model(cfg).to(device)
        for mode, batch in (("eval", eval_batch), ("training step", train_batch)):
            training = mode == "training step"
            run = partial(_step if training else _infer, model)
            dense = _after_res2(model.eval(), cfg, batch, device)
            model.train(training)
            figures += _packed_over_dense(f"{name}, {mode}", run, dense, rounds, limit)
    return figures


def _packed_over_dense(
    name: str, run: Callable[[Clips], None], dense: Tensor, rounds: int, limit: float | None
) -> list[Figure]:
    batch, _, frames = dense.shape[:3]
    lengths = ragged_lengths(frames, batch)
    inputs = {
        "dense": dense,
        "equal": pack_dense(dense),
        "ragged": pack([clip[:, :length] for clip, length in zip(dense, lengths, strict=True)]),
        "longest": dense[:, :, : max(lengths)].contiguous(memory_format=torch.channels_last_3d),
    }
    tasks = {kind: partial(run, clips) for kind, clips in inputs.items()}
    seconds = in_turn(tasks, rounds=rounds, device=dense.device, title=name)
    half = f"{lengths} of {frames} frames"
    return [
        ratio(f"{name}: packed, all of {frames} frames, over dense", seconds["equal"], seconds["dense"], target=1.05),
        ratio(
            f"{name}: packed, half on average, over dense", seconds["ragged"], seconds["dense"], target=limit, note=half
        ),
        ratio(f"{name}: packed, half on average, over padded to the longest", seconds["ragged"], seconds["longest"]),
    ]


def _after_res2(model: nn.Module, cfg: CfgNode, batch: int, device: torch.device) -> Tensor:
    """Return random clips with the shape of res2's output, channels_last_3d."""
    crop = cfg.DATA.TRAIN_CROP_SIZE
    clips = torch.randn(1, 3, cfg.DATA.NUM_FRAMES, crop, crop, device=device)
    with torch.inference_mode():
        shape = model.s2(model.s1([clips]))[0].shape
    return torch.randn(batch, *shape[1:], device=device).relu().contiguous(memory_format=torch.channels_last_3d)


def _after_sgs(model: nn.Module, x: Clips) -> Tensor:
    pathways = [x]
    for stage in (model.s3, model.s4, model.s5):
        pathways = stage(pathways)
    return model.head(pathways)


@torch.inference_mode()
def _infer(model: nn.Module, x: Clips) -> None:
    _after_sgs(model, x)


def _step(model: nn.Module, x: Clips) -> None:
    data = x.joined if isinstance(x, PackedClips) else x
    data.requires_grad_().grad = None  # the stage before would need a gradient
    _after_sgs(model, x).square().mean().backward()
    model.zero_grad(set_to_none=True)
