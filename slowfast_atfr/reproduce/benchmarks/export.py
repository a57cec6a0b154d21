"""Compare exported files with the network in PyTorch: one clip at a time, static, mixed and moving."""

import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast_atfr.analysis.timing import in_turn
from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.inference.export import as_pathways, check_exportable, export_program, input_shapes, save_onnx
from slowfast_atfr.engine.inference.onnx_file import SCORES, OnnxFile
from slowfast_atfr.models import build_model, fold_norms
from slowfast_atfr.reproduce.benchmarks.models import LOCAL_NORMS, pair_of
from slowfast_atfr.sgs.record import count_active
from slowfast_atfr.sgs.sampler import Embedding
from slowfast_atfr.utils.errors import RunError

CLIPS = 20  # with compared scores
NETWORKS = {  # config, pairs
    "X3D-S": ("Kinetics/X3D_S.yaml", ("DATA.TEST_CROP_SIZE", "160")),
    "SlowFast-8x8-R50": ("Kinetics/SLOWFAST_8x8_R50.yaml", ("DATA.TEST_CROP_SIZE", "224")),
    "3DResNet-18": ("Mini_Kinetics/3DRESNET18.yaml", ("DATA.NUM_FRAMES", "16", "DATA.TEST_CROP_SIZE", "112")),
}
SAMPLED = ("SGS.KERNEL", "linear_mean", "MODEL.REPLICATE_PAD_STAGES", "[conv1,res2]")  # of networks with SGS
SEGMENTS = ("SGS.GROUPING", "segments", "SGS.FEATURES", "grid", "SGS.TARGET_MAPS", "[6]", "SGS.WEIGHTED_HEAD", "True")
SCORES_SPREAD = 3.0  # of the classes' scores before the softmax: the best have probabilities like a trained network's
Run = Callable[[list[Tensor]], np.ndarray]


@dataclass(frozen=True)
class ExportFigure:
    """One clip of one network, in PyTorch and by each runtime.

    network, clip: names; SGS's networks have three clips, which cost differently.
    maps: output of input maps of each SGS layer; "" without SGS.
    seconds: of each round, by runtime.
    differences: largest difference of scores from PyTorch over `compared` clips, by runtime.
    """

    network: str
    clip: str
    maps: str
    seconds: dict[str, tuple[float, ...]]
    differences: dict[str, float]
    compared: int

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "network",
        "clip",
        "maps",
        "PyTorch",
        "ONNX Runtime",
        "OpenVINO",
        "largest difference, ONNX Runtime and OpenVINO",
    )
    ALIGN: ClassVar[str] = "lllrrrl"

    def cells(self) -> tuple[str, ...]:
        """Return the cells of a table, in the order of COLUMNS: milliseconds, and ratios to PyTorch round by round."""
        ours = np.array(self.seconds["PyTorch"])
        times = [f"{np.median(ours) * 1e3:.4g} ms"]
        for name in ("ONNX Runtime", "OpenVINO"):
            own = np.array(self.seconds.get(name, ()))
            times.append(f"{np.median(own) * 1e3:.4g} ms, {np.median(own / ours):.2f}" if own.size else "-")
        apart = ", ".join(f"{difference:.1g}" for difference in self.differences.values())
        return self.network, self.clip, self.maps or "-", *times, f"{apart} on {self.compared} clips"


def benchmark_export(configs: Path, *, rounds: int, device: torch.device) -> list[ExportFigure]:
    """Measure every network without and with SGS, random weights.

    Raises:
        RunError: on another device than the CPU.
    """
    if device.type != "cpu":
        raise RunError(f"--device {device}: exported files are measured on the CPU; leave it out")
    figures = []
    for name, (config, pairs) in NETWORKS.items():
        path, with_sgs = pair_of(configs / config)
        figures += measure(name, path, pairs, rounds=rounds, device=device)
        figures += measure(f"{name} + SGS", with_sgs, (*pairs, *SAMPLED), rounds=rounds, device=device)
    pairs = (*pairs, *SAMPLED, *SEGMENTS)  # of the last network, the smallest
    figures += measure(f"{name} + SGS, segments", with_sgs, pairs, rounds=rounds, device=device)
    return figures


def measure(name: str, config: Path, pairs: Sequence[str], *, rounds: int, device: torch.device) -> list[ExportFigure]:
    """Measure a network: one clip without SGS; a static, a mixed and a moving clip with it."""
    cfg = load_cfg(str(config), [*LOCAL_NORMS, *pairs])
    check_exportable(cfg, "onnx")
    clips = some_clips(cfg, CLIPS)
    network = settled(build_model(cfg), list(clips.values())[:: len(clips) // 4])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        save_onnx(export_program(network, cfg), file, cfg, None)
        runtime = OnnxFile(file)
        runs: dict[str, Run] = {"ONNX Runtime": lambda pathways: runtime(pathways)[SCORES]}
        if importlib.util.find_spec("openvino"):
            runs["OpenVINO"] = openvino_run(file)
    timed = ("static", "mixed", "moving") if cfg.SGS.ENABLE else ("moving",)
    compared = clips if cfg.SGS.ENABLE else {clip: clips[clip] for clip in ("static", "mixed", "moving")}
    with torch.inference_mode():
        maps, differences = {}, dict.fromkeys(runs, 0.0)
        with count_active(network) as counter:
            for clip, pathways in compared.items():
                scores = network(pathways).numpy()
                maps[clip] = [int(count[0]) for count in counter.read_and_reset().values()]
                for kind, run in runs.items():
                    differences[kind] = max(differences[kind], float(np.abs(run(pathways) - scores).max()))
        figures = []
        for clip in timed:
            tasks = {"PyTorch": partial(network, clips[clip])} | {k: partial(v, clips[clip]) for k, v in runs.items()}
            seconds = in_turn(tasks, rounds=rounds, device=device, title=f"{name}, {clip}", untimed=1)
            lengths = [pathway.shape[2] for pathway in clips[clip]]
            kept = ", ".join(f"{left} of {came}" for left, came in zip(maps[clip], lengths, strict=False))
            shown = {kind: tuple(times.tolist()) for kind, times in seconds.items()}
            figures.append(ExportFigure(name, clip, kept, shown, differences, len(compared)))
    return figures


def openvino_run(file: Path) -> Run:
    """Run the file by OpenVINO in float32: its default precision changes bins."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(str(file), "CPU", settings)
    return lambda pathways: compiled([pathway.numpy() for pathway in pathways])[0]


def some_clips(cfg: CfgNode, count: int) -> dict[str, list[Tensor]]:
    """Return clips by name: `static` shows one picture, `moving` another one in each frame, `mixed` is half static.

    The others show 2, 3, ... pictures, each held for a while, some with noise.
    """
    shape, generator = input_shapes(cfg)[-1], torch.Generator().manual_seed(0)
    frames = shape[2]
    level = 2 * torch.randn(1, 3, frames, 1, 1, generator=generator)
    pictures = torch.randn(shape, generator=generator) + level
    time = torch.arange(frames)
    clips = {
        "static": pictures[:, :, :1].expand(shape),
        "mixed": pictures[:, :, (time - frames // 2).clamp(min=0)],
        "moving": pictures,
    }
    for index in range(count - len(clips)):
        shown = 2 + index * (frames - 2) // count
        held = (time * (time + 3) * shown / (frames * (frames + 3))).long()
        noise = (index % 3) * 0.1 * torch.randn(shape, generator=generator)
        clips[f"{index}"] = pictures.roll(index, 2)[:, :, held] + noise
    return {name: as_pathways(clip, cfg) for name, clip in clips.items()}


@torch.no_grad()
def settled(network: nn.Module, clips: Sequence[list[Tensor]]) -> nn.Module:
    """Return a random network whose scores and bins differ from clip to clip, with folded norms.

    Norms and the thresholds of segments get the statistics of these clips, the embedding weights of standard deviation
    1, and the classifier scores with a wide spread.
    """
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            layer.momentum = 1.0
        if isinstance(layer, Embedding):
            nn.init.normal_(layer.fc1.weight)
            nn.init.normal_(layer.fc2.weight)
    scores = network.train()([torch.cat(pathway) for pathway in zip(*clips, strict=True)])
    network.head.projection.weight.mul_(SCORES_SPREAD / scores.std())
    return fold_norms(network.eval())
