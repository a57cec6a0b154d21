"""Export of a network for one clip as a torch.export program or an ONNX file.

The network itself is traced on one clip. While it is traced (`is_exporting`) SGS groups with tensors alone, so the
number of maps after it is a symbol with a new value in every run.
"""

import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast_atfr.config import ConfigError, num_pathways
from slowfast_atfr.engine.inference.onnx_file import SCORES, OnnxFile, import_extra, metadata
from slowfast_atfr.models.inputs import slow_frames
from slowfast_atfr.sgs.one_clip import Grouped
from slowfast_atfr.sgs.record import active_name, count_active, observed
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import replacing, write_whole

FORMATS = ("onnx", "torch")
TOLERANCE = 1e-4  # larger differences from PyTorch give a warning
NO_OPERATOR = ("mean_mahalanobis",)  # similarities without ONNX operators


class OneClip(nn.Module):
    """The exported network: (1, 3, T_p, H, W) of each pathway -> scores, and the number of maps after each SGS layer.

    Args:
        network: in evaluation mode.
        cfg: its config.
    """

    def __init__(self, network: nn.Module, cfg: CfgNode) -> None:
        super().__init__()
        self.network, self.single = network, num_pathways(cfg) == 1
        self.weighted = cfg.SGS.ENABLE and cfg.SGS.WEIGHTED_HEAD

    def forward(self, *pathways: Tensor) -> dict[str, Tensor]:
        groups: dict[str, Grouped] = {}
        with observed(self.network, lambda name, grouped: groups.update({name: grouped})), self._weighted_head(groups):
            scores = self.network(list(pathways))
        return {SCORES: scores} | {
            active_name(name, single=self.single): grouped.members.any(1).sum() for name, grouped in groups.items()
        }

    @contextmanager
    def _weighted_head(self, groups: dict[str, Grouped]) -> Iterator[None]:
        """Let the head weight maps by sizes that are tensors."""
        if not self.weighted:
            yield
            return
        head = self.network.head
        by_size, head.weigh = head.weigh, lambda maps: weighted(maps, groups)
        try:
            yield
        finally:
            head.weigh = by_size


def weighted(pathways: Sequence[Tensor], groups: dict[str, Grouped]) -> list[Tensor]:
    """Multiply maps (1, C, B', H, W) by their share of the clip's frames, as `weighted_by_size` does for packed clips.

    groups: by SGS layer, such as s2_sgs.pathway1; at most one per pathway.
    """
    out = list(pathways)
    for name, grouped in groups.items():
        pathway, sizes = int(name.rpartition("pathway")[2]), grouped.members.sum(1)
        torch._check(out[pathway].shape[2] == sizes.shape[0])
        share = sizes * grouped.members.any(1).sum() / sizes.sum()
        out[pathway] = out[pathway] * share.to(out[pathway].dtype)[:, None, None]
    return out


def check_exportable(cfg: CfgNode, kind: str) -> None:
    """Check that a network can be exported and the packages are installed.

    Args:
        cfg: of the network.
        kind: of FORMATS.
    Raises:
        ConfigError: for keys that cannot be exported.
        RunError: if torch is too old, or a package is missing.
    """
    if not hasattr(torch.compiler, "is_exporting"):
        raise RunError(f"export needs torch 2.7 or newer, this is {torch.__version__}")
    if kind == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            import_extra(package)
    sgs = cfg.SGS
    if not sgs.ENABLE:
        return
    if sgs.BATCHING != "packed":
        raise ConfigError(
            f"SGS.BATCHING is {sgs.BATCHING!r}, where a clip depends on its batch, but a file takes one clip: "
            "export with packed"
        )
    if sgs.WEIGHTED_HEAD and len(sgs.STAGES) > 1:
        raise ConfigError(
            f"SGS.WEIGHTED_HEAD is True and SGS.STAGES {sgs.STAGES}: sizes of maps after two SGS layers cannot be "
            "exported; use one stage, or SGS.WEIGHTED_HEAD False"
        )
    if kind == "onnx" and sgs.SIMILARITY in NO_OPERATOR:
        raise ConfigError(
            f"SGS.SIMILARITY is {sgs.SIMILARITY!r}, for which ONNX has no operators; --format torch supports it"
        )
    groups = {group for stage in cfg.NONLOCAL.GROUP for group in stage}
    frames = {pool[0] for stage in cfg.NONLOCAL.POOL for pool in stage}
    blocks = any(places for stage in cfg.NONLOCAL.LOCATION for places in stage)
    if blocks and (max(groups) > 1 or max(frames) > 1):
        raise ConfigError(
            f"NONLOCAL.GROUP is {cfg.NONLOCAL.GROUP} and NONLOCAL.POOL {cfg.NONLOCAL.POOL}: groups of frames and pools "
            "over time cannot be exported for clips shortened by SGS; set both to 1 in time"
        )


def input_shapes(cfg: CfgNode) -> list[tuple[int, ...]]:
    """Return (1, 3, T_p, H, W) of each pathway, at the test crop."""
    side, frames, channels = cfg.DATA.TEST_CROP_SIZE, cfg.DATA.NUM_FRAMES, cfg.DATA.INPUT_CHANNEL_NUM
    lengths = [frames // cfg.SLOWFAST.ALPHA, frames] if num_pathways(cfg) == 2 else [frames]
    return [(1, channels[index], length, side, side) for index, length in enumerate(lengths)]


def export_program(network: nn.Module, cfg: CfgNode) -> torch.export.ExportedProgram:
    """Trace a network on one clip.

    Args:
        network: in evaluation mode, on the CPU, preferably with its norms folded.
        cfg: its config; MODEL.COMPILE is False.
    Returns:
        a program of `OneClip`, with inputs of `input_shapes`.
    Raises:
        RunError: if torch.export fails.
    """
    example = tuple(torch.zeros(shape) for shape in input_shapes(cfg))
    try:
        with torch.no_grad():
            return torch.export.export(OneClip(network, cfg), example, strict=False)
    except (ConfigError, RunError):
        raise
    except Exception as error:  # torch raises many classes
        raise RunError(
            f"torch.export cannot trace this {cfg.MODEL.MODEL_NAME}: {type(error).__name__}: {_first_line(error)}"
        ) from error


def save_onnx(
    program: torch.export.ExportedProgram, path: str | os.PathLike[str], cfg: CfgNode, classes: Sequence[str] | None
) -> None:
    """Write a program as an ONNX file, with its config and class names in the metadata.

    Raises:
        RunError: if an operator has no ONNX form.
        OSError: if the file cannot be written.
    """
    logger, level = logging.getLogger("torch.onnx"), logging.getLogger("torch.onnx").level
    logger.setLevel(logging.ERROR)  # it warns that torchvision, which is not used, is missing
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            converted = torch.onnx.export(program, (), dynamo=True, verbose=False)
    except Exception as error:
        raise RunError(f"this network has no ONNX form ({_first_line(error)}); --format torch supports it") from error
    finally:
        logger.setLevel(level)
    for output, name in zip(converted.model.graph.outputs, program.call_spec.out_spec.context, strict=True):
        output.name = name
    converted.model.metadata_props.update(metadata(cfg, classes))
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with replacing(path) as part:
        converted.save(part)


def save_torch(
    program: torch.export.ExportedProgram, path: str | os.PathLike[str], cfg: CfgNode, classes: Sequence[str] | None
) -> None:
    """Write a program for torch.export.load, with its config and class names as extra files."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of weights that share memory
        torch.export.save(program, buffer, extra_files=metadata(cfg, classes))
    write_whole(path, buffer.getbuffer())


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]


@dataclass(frozen=True)
class Check:
    """Comparison of a file with its network on a clip.

    name: of the clip.
    difference: the largest between scores.
    active: maps after each SGS layer, in the file.
    expected: the same, in the network.
    """

    name: str
    difference: float
    active: dict[str, int]
    expected: dict[str, int]

    @property
    def is_off(self) -> bool:
        """Whether file and network disagree."""
        return not self.difference <= TOLERANCE or self.active != self.expected


def check_clips(cfg: CfgNode, seed: int = 0) -> dict[str, list[Tensor]]:
    """Return a static and a moving clip of noise, the same or new in each frame."""
    shapes, generator = input_shapes(cfg), torch.Generator().manual_seed(seed)
    moving = torch.randn(shapes[-1], generator=generator)
    static = moving[:, :, :1].expand(shapes[-1])
    return {name: as_pathways(clip, cfg) for name, clip in (("static", static), ("moving", moving))}


def as_pathways(clip: Tensor, cfg: CfgNode) -> list[Tensor]:
    """Return the pathways' inputs of a clip (1, 3, T, H, W)."""
    if num_pathways(cfg) == 1:
        return [clip.contiguous()]
    return [clip.index_select(2, slow_frames(clip.shape[2], cfg)), clip.contiguous()]


@torch.no_grad()
def compare(
    network: nn.Module, run: "OnnxFile | TorchFile", cfg: CfgNode, clips: dict[str, list[Tensor]]
) -> list[Check]:
    """Run clips through a file and through its network."""
    checks, single = [], num_pathways(cfg) == 1
    with count_active(network) as counter:
        for name, pathways in clips.items():
            scores, found = network(pathways), run(pathways)
            expected = {active_name(k, single=single): int(v[0]) for k, v in counter.read_and_reset().items()}
            difference = (scores - torch.as_tensor(found.pop(SCORES))).abs().max()
            checks.append(Check(name, float(difference), {k: int(v) for k, v in found.items()}, expected))
    return checks


class TorchFile:
    """A program of `slowfast-atfr export --format torch`, run by torch.

    Args:
        path: of the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._module = torch.export.load(os.fspath(path)).module()

    @torch.no_grad()
    def __call__(self, pathways: Sequence[Tensor]) -> dict[str, Tensor]:
        return self._module(*pathways)
