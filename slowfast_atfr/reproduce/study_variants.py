"""What the accuracy study compares, and how each is trained."""

from collections.abc import Mapping
from dataclasses import dataclass

from slowfast_atfr.reproduce.tables import SCALED_DOWN

SCRATCH, TUNED = "from scratch", "fine-tuned"
FINE_TUNING = {"SOLVER.BASE_LR": "0.0003", "SOLVER.MAX_EPOCH": "30"}  # of a trained base, SGS inserted new


@dataclass(frozen=True)
class Variant:
    """A network of the study.

    name: in tables, in names of folders and for --only.
    sgs: keys of the SGS group and their values; none is the network without.
    """

    name: str
    sgs: Mapping[str, str]


def _sgs(similarity: str, kernel: str, order: str, bins: int = -1, name: str = "") -> Variant:
    keys = {"SIMILARITY": similarity, "KERNEL": kernel, "ORDER": order, "NUM_BINS": f"[{bins}]"}
    return Variant(name or f"{similarity}, {kernel}, {order}", keys)


BASE = Variant("base", {})
KERNELS = ("linear", "linear_normalized", "delta_normalized", "linear_mean")
PAPERS = tuple(_sgs("magnitude", kernel, order) for kernel in KERNELS for order in ("bin", "time"))
PATH = tuple(
    _sgs("path", kernel, "time", bins, f"path to {bins}, {kernel}")
    for bins, kernel in ((4, "linear_mean"), (6, "linear_mean"), (8, "linear_mean"), (6, "delta_normalized"))
)
UNIFORM = tuple(
    _sgs("uniform_time", "delta_normalized", "time", bins, f"uniform pooling to {bins}") for bins in (4, 6, 8)
)
RANDOM = tuple(_sgs("random_order", "delta_normalized", "time", bins, f"random merging to {bins}") for bins in (6, 8))
VARIANTS = (BASE, *PAPERS, *PATH, *UNIFORM, *RANDOM)  # fine-tuned
AT_SIX = tuple(variant for variant in (*PATH, *UNIFORM, *RANDOM) if variant.sgs["NUM_BINS"] == "[6]")
UNIFORM_OF = {  # names: uniform pooling to as many bins
    variant.name: uniform.name
    for variant in (*PATH, *RANDOM)
    for uniform in UNIFORM
    if variant.sgs["NUM_BINS"] == uniform.sgs["NUM_BINS"]
}


@dataclass(frozen=True)
class Run:
    """A network trained and tested once. start: SCRATCH or TUNED."""

    start: str
    variant: Variant
    seed: int

    @property
    def name(self) -> str:
        return f"{self.start}; {self.variant.name}; seed {self.seed}"

    @property
    def folder(self) -> str:
        return "".join(letter if letter.isalnum() else "_" for letter in self.name)

    def pairs(self) -> dict[str, str]:
        """Keys of the config and their values, weights that it starts from left out."""
        sgs = {f"SGS.{key}": value for key, value in self.variant.sgs.items()}
        tuned = FINE_TUNING | {"TRAIN.CHECKPOINT_EPOCH_RESET": "True"} if self.start == TUNED else {}
        return {**SCALED_DOWN, "RNG_SEED": str(self.seed), **sgs, **tuned}


def runs_of(seed: int) -> list[Run]:
    """All runs of a seed, the base that others start from before them."""
    tuned = [Run(TUNED, variant, seed) for variant in VARIANTS]
    return [Run(SCRATCH, BASE, seed), *tuned, *(Run(SCRATCH, variant, seed) for variant in (*PAPERS, *AT_SIX))]
