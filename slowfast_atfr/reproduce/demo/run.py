"""The demo: train and test 3DResNet-18 without and with SGS on synthetic videos, and compare the two."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from slowfast_atfr.analysis import markdown
from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.config.config_diff import format_changes
from slowfast_atfr.datasets.demo import write_demo_clips, write_demo_dataset
from slowfast_atfr.engine.checkpoint.save import checkpoint_path, last_checkpoint
from slowfast_atfr.engine.cli import exit_status
from slowfast_atfr.engine.inference.predict import Predictor
from slowfast_atfr.engine.launch.processes import launch
from slowfast_atfr.reproduce.demo.clips import ClipCost, compare_speed, draw_clips, measure_clips
from slowfast_atfr.reproduce.demo.screen import epoch_lines, train_briefly
from slowfast_atfr.utils.env import keep_freed_memory
from slowfast_atfr.utils.logging import console_shows, last_stats
from slowfast_atfr.utils.stop import stopped_by_signals

COARSE = "3DRESNET18_COARSE"  # both networks start from its weights
BASE, ATFR = "3DResNet-18", "3DResNet-18 + SGS"
RUNS = {BASE: "3DRESNET18", ATFR: "3DRESNET18_ATFR"}
COLUMNS = {
    "top-1 %": "top1_acc",
    "GFLOPs/clip": "gflops_per_clip",
    "maps after res2": "active_bins_s2",
    "clips/s": "rate",
}
LABELS = "something-something-v2-labels.json"
AGAIN = "start the demo again to resume it"


def run_demo(folder: Path, configs: Path, pairs: Sequence[str]) -> int:
    """Write the data set, train and test both networks, print the tables, draw the picture.

    Args:
        folder: receives data/, clips/, a folder for each run, results.md and merging.png. Existing files are kept, and
            runs resume from their last checkpoint.
        configs: folder with the demo's configs.
        pairs: KEY VALUE pairs for all runs.
    Returns:
        0, or the exit status of the run that failed; 1 if a run in the folder is of another config.
    """
    return exit_status(lambda: _run_demo(folder, configs, pairs))


def _run_demo(folder: Path, configs: Path, pairs: Sequence[str]) -> None:
    data = folder / "data"
    where = ["DATA.PATH_TO_DATA_DIR", str(data), "DATA.PATH_PREFIX", str(data / "videos")]

    def load(config: str, *more: str) -> CfgNode:
        own = ["OUTPUT_DIR", str(folder / config.lower()), *more]
        cfg = load_cfg(str(configs / f"{config}.yaml"), [*where, *own, *pairs])
        refuse_other_run(cfg)
        return cfg

    coarse = load(COARSE)
    weights = checkpoint_path(coarse.OUTPUT_DIR, coarse.SOLVER.MAX_EPOCH - 1)
    start = ["TRAIN.CHECKPOINT_FILE_PATH", weights, "TRAIN.CHECKPOINT_EPOCH_RESET", "True"]
    cfgs = {name: load(config, *start) for name, config in RUNS.items()}
    with stopped_by_signals(AGAIN):
        print("1 of 4: drawing videos of things that move or hold still", flush=True)
        write_demo_dataset(data, videos_per_class_train=40, videos_per_class_val=25)
    parts = {f"2 of 4: common weights to start from, clips of {coarse.DATA.NUM_FRAMES} frames": coarse}
    parts |= {f"{number} of 4: {name}": cfg for number, (name, cfg) in enumerate(cfgs.items(), start=3)}
    if not coarse.NUM_GPUS:
        keep_freed_memory()
    for title, cfg in parts.items():
        launch(partial(train_briefly, title=title), cfg)
    with stopped_by_signals(AGAIN), console_shows(epoch_lines("")):
        tested = {name: last_stats(Path(cfg.OUTPUT_DIR) / "stdout.log", "test_final") for name, cfg in cfgs.items()}
        predictors = {name: Predictor(cfg) for name, cfg in cfgs.items()}
        rates = compare_speed(predictors[BASE], predictors[ATFR])
        clips = measure_clips(predictors[BASE], predictors[ATFR], write_demo_clips(folder / "clips"))
        draw_clips(folder / "merging.png", clips)
    for stats, rate in zip(tested.values(), rates, strict=True):
        stats["rate"] = np.median(rate)
    report = "\n".join([comparison(tested, cfgs[BASE].DATA.NUM_FRAMES), speed_line(*rates), costs(clips)])
    (folder / "results.md").write_text(f"{report}\n", encoding="utf-8")
    print(f"\n{report}\n\n{whats_next(folder, configs, cfgs[ATFR], pairs)}")


def refuse_other_run(cfg: CfgNode) -> None:
    """Raise ConfigError if the newest checkpoint of OUTPUT_DIR was trained with another config."""
    file = last_checkpoint(cfg.OUTPUT_DIR)
    changed = file.changes(cfg) if file else {}
    if changed:
        raise ConfigError(
            f"{file.path} is of another demo ({format_changes(changed)}); remove the folder, or give another one"
        )


def comparison(results: Mapping[str, Mapping[str, Any]], frames: int) -> str:
    """Return a markdown table of test_final figures; a network without SGS has as many maps as frames."""
    rows = []
    for name, stats in results.items():
        values = [float({"active_bins_s2": frames, **stats}[key]) for key in COLUMNS.values()]
        rows.append([name, *(f"{value:.3g}" for value in values)])
    return markdown.table(["test videos", *COLUMNS], rows) + "\n"


def speed_line(base: np.ndarray, atfr: np.ndarray) -> str:
    """Describe the clips per second with SGS over those without, round by round."""
    ratios = atfr / base
    rounds = f"median of {len(ratios)} rounds in turn, {ratios.min():.2f} to {ratios.max():.2f}"
    return f"With SGS it is **{np.median(ratios):.2f} times as fast** ({rounds}).\n"


def costs(clips: Mapping[str, ClipCost]) -> str:
    """Return a markdown table of the cost of single clips."""
    rows = []
    for name, clip in clips.items():
        maps = f"{clip.maps} of {clip.all_maps}"
        rows.append([name.replace("_", " "), maps, f"{clip.gflops:.3f}", f"{clip.ms:.1f}", f"{clip.base_ms:.1f}"])
    return markdown.table(["motion in the clip", "maps", "GFLOPs", "ms", "ms without SGS"], rows)


def whats_next(folder: Path, configs: Path, cfg: CfgNode, pairs: Sequence[str]) -> str:
    """Describe where the results are, and commands to try."""
    python = os.path.relpath(sys.executable)
    network = f"--cfg {configs / RUNS[ATFR]}.yaml --checkpoint {cfg.OUTPUT_DIR} --classes {folder / 'data' / LABELS}"
    network += f" --opts {shlex.join(pairs)}" if pairs else ""
    return "\n".join(
        [
            f"Which maps were merged: {folder / 'merging.png'}; these tables: {folder / 'results.md'}",
            "Next, with your own videos or the demo's:",
            f"  {python} -m slowfast_atfr predict {folder / 'clips'} {network}",
            f"  {python} -m slowfast_atfr visualize {folder / 'clips/now_and_then.mp4'} {network}",
            "To insert SGS into a network that you have trained: docs/accuracy.md, the command at its end",
        ]
    )
