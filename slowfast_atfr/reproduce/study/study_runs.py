"""Run the networks of the accuracy study one after another; each result is a line of OUT/results.jsonl."""

import json
import os
import shutil
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.engine.checkpoint.save import weights_at
from slowfast_atfr.reproduce.runner import train_with_log
from slowfast_atfr.reproduce.study.variants import (
    BASE,
    COUNTED,
    COUNTING,
    EPOCHS,
    FREE,
    SCRATCH,
    TUNED,
    Run,
    in_paths,
)
from slowfast_atfr.reproduce.table_report import MAPS
from slowfast_atfr.reproduce.tables import on_lists
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.logging import last_stats

NETWORK = "Mini_Kinetics/3DRESNET18"
FIGURES = ("top1_acc", "gflops_per_clip", "clips_per_second", "num_videos")
RUN_KEYS = ("data", "lists", "start", "variant", "seed", "pairs", "frames")


@dataclass(frozen=True)
class Study:
    """Runs of the study on one data set.

    configs: folder of all configs.
    data: folder with train.csv and val.csv.
    out: receives everything.
    pairs: KEY VALUE pairs for all runs.
    """

    configs: Path
    data: Path
    out: Path
    pairs: tuple[str, ...]

    @property
    def results(self) -> Path:
        return self.out / "results.jsonl"

    @cached_property
    def lists(self) -> str:
        """A checksum of the lists of videos."""
        return _checksum(b"".join((self.data / name).read_bytes() for name in ("train.csv", "val.csv")))

    def config(self, run: Run, weights: str = "") -> CfgNode:
        """The config of a run, whose folder depends on lists and pairs, so that no run resumes another recipe."""
        own = {**run.pairs(), **on_lists(str(self.data))}
        recipe = f"{self.data.name}_{self.lists}_{_checksum(' '.join(self.pairs).encode())}"
        own["OUTPUT_DIR"] = str(self.out / recipe / run.folder)
        if weights:
            own["TEST.CHECKPOINT_FILE_PATH" if run.start == FREE else "TRAIN.CHECKPOINT_FILE_PATH"] = weights
        pairs = list(self.pairs)
        if run.start == TUNED:
            epochs = dict(zip(pairs[::2], pairs[1::2], strict=False)).get(EPOCHS, own[EPOCHS])
            pairs += [EPOCHS, str(max(1, int(epochs) // 2)) if epochs.isdecimal() else epochs]
        elif run.start == COUNTED:
            pairs += _words(COUNTING)
        network = f"{NETWORK}_ATFR.yaml" if run.variant.sgs else f"{NETWORK}.yaml"
        return load_cfg(str(self.configs / network), [*_words(own), *pairs])

    def run_all(self, runs: Sequence[Run], cfg: CfgNode, rank: RankInfo) -> None:
        """Run what is not done, and before it the base that it starts from; `cfg` is not used."""
        for run in runs:  # before hours of training: other pairs are an error
            self.is_done(run)
            if run.start != SCRATCH:
                self.is_done(_base_of(run))
        for seed in sorted({run.seed for run in runs if run.start != SCRATCH and not self.is_done(run)}):
            self._train_if_missing(Run(SCRATCH, BASE, seed), rank)  # a new base may mean that other runs are not done
        for number, run in enumerate(runs, 1):
            done = self.is_done(run)
            print(f"{number} of {len(runs)}: {self.data.name}; {run.name}{' is done' * done}", file=sys.stderr)
            if not done:
                weights = _checkpoint(self.config(_base_of(run))) if run.start != SCRATCH else ""
                self.train(run, self.config(run, weights), rank)

    def _train_if_missing(self, base: Run, rank: RankInfo) -> None:
        """Train a base whose checkpoint is missing."""
        cfg = self.config(base)
        weights, folder = _checkpoint(cfg), Path(cfg.OUTPUT_DIR)
        if os.path.exists(weights):
            return
        if self.is_done(base):
            print(f"{base.name} is trained again, since {weights} is missing", file=sys.stderr)
        for start in (TUNED, COUNTED):  # a stopped run must not resume from an earlier base
            for other in folder.parent.glob(f"{in_paths(start)}*__seed_{base.seed}"):
                shutil.rmtree(other / "checkpoints", ignore_errors=True)
        self.train(base, cfg, rank)

    def _base_checksum(self, run: Run) -> str | None:
        """Return a checksum of the weights that a run starts from; None if it starts from none, or they are missing."""
        weights = _checkpoint(self.config(_base_of(run)))
        if run.start == SCRATCH or not os.path.exists(weights):
            return None
        return _checksum_of_weights(weights, os.path.getmtime(weights))

    def train(self, run: Run, cfg: CfgNode, rank: RankInfo) -> None:
        """Train and test a run, add its result, and remove its checkpoints unless others start from them."""
        stats = train_with_log(cfg, rank)
        figures = {key: float(stats[key]) for key in (*FIGURES, MAPS) if key in stats}
        if cfg.TRAIN.ENABLE:
            trained = last_stats(Path(cfg.OUTPUT_DIR) / "stdout.log", "train_epoch")
            figures |= {"train_top1_acc": 100 - trained["top1_err"]}
        line = {"data": self.data.name, "lists": self.lists, "start": run.start, "variant": run.variant.name}
        line |= {"seed": run.seed, **figures, "frames": cfg.DATA.NUM_FRAMES, "pairs": list(self.pairs)}
        base = self._base_checksum(run)
        self._add(line if base is None else line | {"base": base})
        if run != _base_of(run):
            shutil.rmtree(os.path.join(cfg.OUTPUT_DIR, "checkpoints"), ignore_errors=run.start == FREE)

    def _add(self, line: dict[str, Any]) -> None:
        try:
            with self.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")  # a short line: other processes may append
        except OSError as error:
            raise RunError(f"cannot write {self.results}: {error.strerror}; the checkpoints are unchanged") from None

    def is_done(self, run: Run) -> bool:
        """Whether there is a result of the run that started from the base's present weights, as far as these are known.

        Raises:
            ConfigError: if it has other pairs.
        """
        key = (self.lists, run.start, run.variant.name, run.seed)
        for line in read_results(self.results):
            if (line["lists"], line["start"], line["variant"], line["seed"]) == key:
                if line["pairs"] != list(self.pairs):
                    before = " ".join(line["pairs"]) or "no pairs"
                    remedy = "give the same ones, or another --out"
                    raise ConfigError(f"{self.results} has {run.name!r} with {before}; {remedy}")
                return line.get("base") is None or self._base_checksum(run) in (None, line["base"])
        return False


def read_results(path: Path) -> list[dict[str, Any]]:
    """Read a file of results, the last line of each run; none if there is no file. Raises ConfigError."""
    if not path.exists():
        return []
    lines = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            line = {key: line[key] for key in (*RUN_KEYS, *FIGURES)} | line
            lines[json.dumps([line[key] for key in RUN_KEYS])] = line
        except (ValueError, KeyError, TypeError) as error:
            remedy = "remove the line to run it again"
            raise ConfigError(f"{path}, line {number} is not a result: {error}; {remedy}") from None
    return list(lines.values())


def _base_of(run: Run) -> Run:
    return Run(SCRATCH, BASE, run.seed)


def _checkpoint(cfg: CfgNode) -> str:
    return os.path.join(cfg.OUTPUT_DIR, "checkpoints", f"checkpoint_epoch_{cfg.SOLVER.MAX_EPOCH:05d}.pyth")


def _words(pairs: Mapping[str, str]) -> list[str]:
    return [word for pair in pairs.items() for word in pair]


@cache
def _checksum_of_weights(path: str, modified: float) -> str:
    """Return a checksum of a checkpoint's weights; `modified`: the time of the file."""
    state = weights_at(path, key="the base's checkpoint").weights
    return _checksum(b"".join(value.numpy().tobytes() for _, value in sorted(state.items())))


def _checksum(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"
