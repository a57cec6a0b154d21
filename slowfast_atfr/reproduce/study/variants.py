"""The networks that the accuracy study compares, and their training."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from slowfast_atfr.reproduce.tables import SCALED_DOWN

SCRATCH, TUNED, FREE, COUNTED = "from scratch", "fine-tuned", "without training", "statistics only"
EPOCHS = "SOLVER.MAX_EPOCH"
FINE_TUNING = {"SOLVER.BASE_LR": "0.0003"}  # of a trained base with new SGS, in half as many epochs
COUNTING = {EPOCHS: "1", "SOLVER.BASE_LR": "0.0", "SOLVER.COSINE_END_LR": "0.0", "SOLVER.WARMUP_EPOCHS": "0.0"}


@dataclass(frozen=True)
class Variant:
    """A network of the study.

    name: in tables, in names of folders and for --only.
    sgs: keys of SGS and their values; empty: the network without SGS.
    """

    name: str
    sgs: Mapping[str, str]


def _sgs(similarity: str, kernel: str, order: str, bins: int = -1, name: str = "", **more: str) -> Variant:
    keys = {"SIMILARITY": similarity, "KERNEL": kernel, "ORDER": order, "NUM_BINS": f"[{bins}]", **more}
    return Variant(name or f"{similarity}, {kernel}, {order}", keys)


def _segments(bins: int, name: str = "", *, mean: bool = False, **keys: str) -> Variant:
    """Segments, `bins` in each clip or on average; by default the head weighs maps by their sizes."""
    number = {"TARGET_MAPS": f"[{bins}]"} if mean else {"NUM_BINS": f"[{bins}]"}
    title = f"{bins} segments on average{name}" if mean else f"{bins} segments{name}"
    return Variant(title, {"GROUPING": "segments", "WEIGHTED_HEAD": "True", **number, **keys})


MAPS = (2, 3, 4, 6, 8)
BASE = Variant("base", {})
KERNELS = ("linear", "linear_normalized", "delta_normalized", "linear_mean")
PAPERS = tuple(_sgs("magnitude", kernel, order) for kernel in KERNELS for order in ("bin", "time"))
CHANCES = (  # changes that may help the paper's similarity, one by one
    _sgs("mean_l2", "linear", "bin"),
    _sgs("mean_l2", "linear_mean", "time"),
    *(
        _sgs(similarity, kernel, order, name=f"{similarity}, {kernel}, {order}, SGS learns x10", LR_FACTOR="10.0")
        for similarity, kernel, order in (("magnitude", "linear", "bin"), ("mean_l2", "linear_mean", "time"))
    ),
    _sgs("magnitude", "linear_mean", "time", name="magnitude, linear_mean, time, SGS learns x0", LR_FACTOR="0.0"),
    _sgs("magnitude_without_gradient", "linear_mean", "time", name="magnitude, linear_mean, time, no gradient"),
    _sgs("magnitude_rank", "linear_mean", "time", 6, name="rank of magnitude to 6, linear_mean, time"),
)
PATH = tuple(
    _sgs("path", kernel, "time", bins, f"path to {bins}, {kernel}")
    for bins, kernel in ((4, "linear_mean"), (6, "linear_mean"), (8, "linear_mean"), (6, "delta_normalized"))
)
EVEN = {"SIZE_PENALTY": "1e6"}  # lengths differ by at most one map
EQUAL = {**EVEN, "WEIGHTED_HEAD": "False"}
MIDDLE, OVERLAP = {"SEGMENT_MAP": "middle"}, {"SEGMENT_MAP": "overlap"}
UNIFORM = tuple(Variant(f"uniform pooling to {bins}", {**_segments(bins).sgs, **EQUAL}) for bins in MAPS)
STRIDES = tuple(Variant(f"uniform striding to {bins}", {**_segments(bins).sgs, **EQUAL, **MIDDLE}) for bins in MAPS)
RANDOM = tuple(_sgs("random_order", "delta_normalized", "time", bins, f"random merging to {bins}") for bins in (6, 8))
GRID, PRICED, MOTION = {"FEATURES": "grid"}, {"SIZE_PENALTY": "1.0"}, {"SEGMENT_LOSS": "motion"}
SEGMENTS = tuple(
    variant
    for bins in MAPS
    for variant in (
        _segments(bins),
        _segments(bins, ", plain head", WEIGHTED_HEAD="False"),
        _segments(bins, ", grid", **GRID),
        _segments(bins, ", penalty 1", **PRICED),
        _segments(bins, ", grid, penalty 1", **GRID, **PRICED),
        _segments(bins, ", grid, penalty 4", **GRID, SIZE_PENALTY="4.0"),
        _segments(bins, ", grid, motion", **GRID, **MOTION),
        _segments(bins, ", grid, motion, plain head", **GRID, **MOTION, WEIGHTED_HEAD="False"),
        _segments(bins, ", grid, motion, middle", **GRID, **MOTION, **MIDDLE),
        _segments(bins, ", grid, motion, overlap", **GRID, **MOTION, **OVERLAP),
    )
)
ADAPTIVE = tuple(
    variant
    for bins in MAPS
    for variant in (
        _segments(bins, mean=True),
        _segments(bins, ", grid", mean=True, **GRID),
        _segments(bins, ", grid, penalty 1", mean=True, **GRID, **PRICED),
        _segments(bins, ", grid, penalty 4", mean=True, **GRID, SIZE_PENALTY="4.0"),
        _segments(bins, ", grid, even", mean=True, **GRID, **EVEN),
        _segments(bins, ", grid, motion", mean=True, **GRID, **MOTION),
        _segments(bins, ", grid, motion, plain head", mean=True, **GRID, **MOTION, WEIGHTED_HEAD="False"),
        _segments(bins, ", grid, motion, middle", mean=True, **GRID, **MOTION, **MIDDLE),
        _segments(bins, ", grid, motion, overlap", mean=True, **GRID, **MOTION, **OVERLAP),
    )
)
VARIANTS = (BASE, *PAPERS, *CHANCES, *PATH, *UNIFORM, *STRIDES, *RANDOM, *SEGMENTS, *ADAPTIVE)  # fine-tuned
AT_SIX = tuple(v for v in (*PATH, *UNIFORM, *STRIDES, *RANDOM, *SEGMENTS, *ADAPTIVE) if "[6]" in v.sgs.values())
UNIFORM_OF = {  # names: network -> uniform pooling to as many bins
    variant.name: uniform.name
    for variant in (*PATH, *STRIDES, *RANDOM, *SEGMENTS, *ADAPTIVE)
    for uniform in UNIFORM
    if variant.sgs.get("TARGET_MAPS", variant.sgs.get("NUM_BINS")) == uniform.sgs["NUM_BINS"]
}


def family(name: str) -> str:
    """Return a variant's name without the number of maps."""
    return re.sub(r"^\d+ | to \d+", "", name)


def in_paths(name: str) -> str:
    """Return a name as it is in names of folders."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


@dataclass(frozen=True)
class Run:
    """A network trained and tested once.

    start: SCRATCH; TUNED; FREE; or COUNTED: an epoch in which only norms' statistics and segments' thresholds change.
    """

    start: str
    variant: Variant
    seed: int

    @property
    def name(self) -> str:
        return f"{self.start}; {self.variant.name}; seed {self.seed}"

    @property
    def folder(self) -> str:
        return in_paths(self.name)

    def pairs(self) -> dict[str, str]:
        """Return keys of the config and their values, without the initial weights."""
        sgs = {f"SGS.{key}": value for key, value in self.variant.sgs.items()}
        tuned = FINE_TUNING if self.start == TUNED else {}
        weights = {"TRAIN.CHECKPOINT_EPOCH_RESET": "True"} if self.start in (TUNED, COUNTED) else {}
        free = {"TRAIN.ENABLE": "False"} if self.start == FREE else {}
        return {**SCALED_DOWN, "RNG_SEED": str(self.seed), **sgs, **tuned, **weights, **free}


def runs_of(seed: int) -> list[Run]:
    """Return all runs of a seed, the base before those that start from it."""
    tuned = [Run(TUNED, variant, seed) for variant in VARIANTS]
    free = [Run(FREE, variant, seed) for variant in (*UNIFORM, *STRIDES, *SEGMENTS)]  # adaptive ones need thresholds
    counted = [Run(COUNTED, variant, seed) for variant in (*UNIFORM, *STRIDES, *SEGMENTS, *ADAPTIVE)]
    return [
        Run(SCRATCH, BASE, seed),
        *free,
        *counted,
        *tuned,
        *(Run(SCRATCH, variant, seed) for variant in (*PAPERS, *CHANCES, *AT_SIX)),
    ]
