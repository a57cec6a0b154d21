"""Loading a checkpoint's weights into a network: names translated, kernels inflated, differences reported."""

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.checkpoint.file import CheckpointFile
from slowfast_atfr.engine.checkpoint.names import (
    TORCHVISION,
    from_caffe2,
    from_release,
    from_torchvision,
    is_release,
    rename,
    without,
    without_ddp,
)
from slowfast_atfr.sgs import TemporalSampler
from slowfast_atfr.sgs.pathways import without_thresholds
from slowfast_atfr.sgs.segment_sampler import THRESHOLDS, is_threshold

logger = logging.getLogger(__name__)
# Share of the network's values that must be in the file. Values, not tensors: four of five tensors are vectors of
# norms, which fit even if no convolution does. An ImageNet ResNet-50 fills 0.80 of SlowFast-R50, all but the fast
# pathway and the lateral connections; a network of another width fills almost nothing.
MIN_SHARE = 0.5
MAX_NAMED = 6  # weights that a message names
HEAD = "head.projection."
COUNTER = "num_batches_tracked"  # not counted: norms with a momentum ignore it, and Caffe2 has none
BUFFERS = ("running_mean", "running_var", *THRESHOLDS)
RELEASE_ORDER = (
    "%s is of the paper's release, which samples before the last ReLU of a stage. Here sampling follows it: the same "
    "weights give other bins, so fine-tune them"
)
RELEASE_SWISH = (
    "%s was trained with TEMPORAL_SAMPLING.USE_RELU False: its samplers have Swish, ours ReLU; they are not loaded"
)


class Mismatch(NamedTuple):
    """A weight with different shapes in file and network."""

    name: str
    found: tuple[int, ...]  # in the file
    wanted: tuple[int, ...]  # in the network

    def __str__(self) -> str:
        return f"{self.name}: {self.found}, here {self.wanted}"


@dataclass(frozen=True)
class LoadReport:
    """Which weights were loaded, by their names in the network, without norms' counters.

    matched: loaded.
    missing: in the network only; not changed.
    unexpected: in the file only.
    mismatched: in both with different shapes; not changed.
    of_sgs: missing parameters of SGS.
    share: matched values over all values of the network, without SGS and classifier.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    of_sgs: tuple[str, ...]
    share: float

    @property
    def complete(self) -> bool:
        """Whether all weights match; thresholds of segments may be missing."""
        missing = [name for name in self.missing if not is_threshold(name)]
        return not (missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        layers = {name.rpartition(".embed.")[0] for name in self.of_sgs}
        missing = [name for name in self.missing if not name.startswith(tuple(f"{layer}." for layer in layers))]
        total = len(self.matched) + len(self.missing) + len(self.mismatched)
        text = (
            f"{len(self.matched)} of the model's {total} weights match, {len(missing)} are missing{_some(missing)}, "
            f"{len(self.unexpected)} are unexpected{_some(self.unexpected)}, "
            f"{len(self.mismatched)} have another shape{_some(map(str, self.mismatched))}"
        )
        if self.of_sgs:
            text += f"; new, not in the file: {len(self.of_sgs)} parameters of SGS ({', '.join(sorted(layers))})"
        for _, found, wanted in [entry for entry in self.mismatched if entry.name == f"{HEAD}bias"]:
            text += f"; the classifier is new: {wanted[0]} classes here, {found[0]} in the file"
        return text


def load_weights(
    file: CheckpointFile,
    network: nn.Module,
    *,
    inflate: bool = False,
    clear: Sequence[str] = (),
    strict: bool = False,
    remedy: str = "",
) -> LoadReport:
    """Load weights of PySlowFast, Caffe2, a 2D ResNet or the paper's release into a network.

    Args:
        file: from read_checkpoint.
        network: without DistributedDataParallel.
        inflate: repeat 2D kernels along time; see inflate_kernel.
        clear: strings to remove from the names in the file.
        strict: file and network must have the same weights; else those that fit are loaded.
        remedy: for the error.
    Returns:
        what fitted and what did not. It is also logged, as a warning if more than SGS and classifier is new, or weights
        of the file are unused.
    Raises:
        ConfigError: if too few weights fit, or with `strict` not all; the network does not change.
    """
    weights, own = translate(file, clear), network.state_dict()
    fitted = {
        name: _fit(value, own[name].shape, inflate=inflate, caffe2=file.kind == "caffe2")
        for name, value in weights.items()
        if name in own
    }
    report = _compare(weights, fitted, own, tuple(_sgs_layers(network)))
    if not (report.complete if strict else report.share >= MIN_SHARE):
        reasons = [f"the weights of {file.path} are not those of this model: {report}"]
        if strict and report.of_sgs:
            reasons.append("The file lacks weights of SGS: it is of the base network, or of other SGS.STAGES")
        if not strict:
            reasons.append(
                f"{report.share:.0%} of its values fit (without SGS and classifier); at least {MIN_SHARE:.0%} must"
            )
            remedy = _hint(report, own) or "The config (MODEL.ARCH, RESNET, X3D, SLOWFAST) must fit the file"
        raise ConfigError(". ".join([*reasons, remedy or "The config must fit the file"]))
    fitting = {name: value for name, value in fitted.items() if value.shape == own[name].shape}
    network.load_state_dict(fitting, strict=False)
    if strict and (layers := without_thresholds(network)):
        logger.warning(
            "no thresholds for %s in %s: every clip gets the number of maps of SGS.TARGET_MAPS. An epoch of training "
            "with SOLVER.BASE_LR, COSINE_END_LR and WARMUP_EPOCHS 0.0 learns them and leaves the weights as they are",
            ", ".join(layers), file.path,
        )  # fmt: skip
    if report.share == 1 and not report.unexpected:
        logger.info("loaded %s: %s", file.path, report)
    else:
        share = f"{math.floor(100 * report.share)}% of the model's values are loaded (without SGS and classifier)"
        text = ". ".join(filter(None, [str(report), share, _hint(report, own)]))
        logger.warning("loaded %s in part: %s", file.path, text)
    return report


def translate(file: CheckpointFile, clear: Sequence[str] = ()) -> dict[str, Tensor]:
    """Return the weights of a file by our names; unknown names do not change.

    Raises:
        ConfigError: if two weights get the same name.
    """
    weights = rename(file.weights, without_ddp(file.weights))
    weights = rename(weights, partial(without, patterns=clear))
    if file.kind == "caffe2":
        return rename(weights, from_caffe2)
    if weights.keys() >= TORCHVISION:
        return rename(weights, from_torchvision)
    if not is_release(weights):
        return weights
    if re.search(r"^\s*USE_RELU: false", str(file.rest.get("cfg")), re.MULTILINE):
        logger.warning(RELEASE_SWISH, file.path)
        return weights
    logger.warning(RELEASE_ORDER, file.path)
    return from_release(weights)


def inflate_kernel(weight: Tensor, shape: Sequence[int]) -> Tensor:
    """Repeat a 2D kernel along time and divide it by T: a static video gives the response of its picture.

    Args:
        weight: (O, I, H, W) or (O, I, 1, H, W); others are returned unchanged.
        shape: (O, I, T, H, W); for others the weight is returned unchanged.
    Returns:
        (O, I, T, H, W).
    Source: Carreira and Zisserman, CVPR 2017.
    """
    kernel = weight[:, :, None] if weight.ndim == 4 else weight
    if kernel.ndim != 5 or len(shape) != 5 or kernel.shape != (*shape[:2], 1, *shape[3:]):
        return weight
    return kernel.expand(*shape) / shape[2]


def _fit(weight: Tensor, shape: Sequence[int], *, inflate: bool, caffe2: bool) -> Tensor:
    """Reshape or inflate a weight to a shape if it fits; else return it unchanged."""
    if caffe2 and _core(weight.shape) == _core(shape):  # Caffe2 may have (O, I) for a 1x1 convolution, or the reverse
        return weight.reshape(*shape)
    return inflate_kernel(weight, shape) if inflate else weight


def _core(shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(shape)
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _compare(
    weights: Mapping[str, Tensor], fitted: Mapping[str, Tensor], own: Mapping[str, Tensor], sgs: tuple[str, ...]
) -> LoadReport:
    names = [name for name in own if not name.endswith(COUNTER)]
    matched = [name for name in names if name in fitted and fitted[name].shape == own[name].shape]
    missing = [name for name in names if name not in weights]
    trunk = [name for name in names if not name.startswith((*sgs, HEAD))]
    return LoadReport(
        matched=tuple(matched),
        missing=tuple(missing),
        unexpected=tuple(name for name in weights if name not in own and not name.endswith(COUNTER)),
        mismatched=tuple(
            Mismatch(name, tuple(weights[name].shape), tuple(own[name].shape))
            for name in names
            if name in weights and fitted[name].shape != own[name].shape
        ),
        of_sgs=tuple(name for name in missing if name.startswith(sgs) and not name.endswith(BUFFERS)),
        share=_count(own, set(trunk) & set(matched)) / max(1, _count(own, trunk)),
    )


def _count(weights: Mapping[str, Tensor], names: Iterable[str]) -> int:
    return sum(math.prod(weights[name].shape) for name in names)


def _sgs_layers(network: nn.Module) -> list[str]:
    """Return the prefixes of SGS's weight names."""
    return [f"{name}." for name, module in network.named_modules() if isinstance(module, TemporalSampler)]


def _hint(report: LoadReport, own: Mapping[str, Tensor]) -> str:
    """Return the key that would make more weights fit, if there is one."""
    if any(_is_flat(entry) for entry in report.mismatched):
        return "Its kernels are 2D: TRAIN.CHECKPOINT_INFLATE True repeats them along time"
    for name in report.unexpected:
        prefix = next((name[: -len(known)] for known in own if name.endswith(f".{known}")), None)
        if prefix:
            return f"Its names have a prefix; TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN ['{prefix}'] removes it"
    return ""


def _is_flat(entry: Mismatch) -> bool:
    return len(entry.wanted) == 5 and entry.found in (
        (*entry.wanted[:2], *entry.wanted[3:]),
        (*entry.wanted[:2], 1, *entry.wanted[3:]),
    )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = ", ..." if len(names) > MAX_NAMED else ""
    return f" ({', '.join(names[:MAX_NAMED])}{more})" if names else ""
