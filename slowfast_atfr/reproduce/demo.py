"""The demo: train and test a small SlowFast without and with SGS on videos written on the spot, and compare the two."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode

from slowfast_atfr.analysis import count_macs
from slowfast_atfr.analysis.figures import ClipPicture, draw_merging
from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.config.recipe import told
from slowfast_atfr.datasets import build_dataset, pathways
from slowfast_atfr.datasets.demo import write_demo_dataset
from slowfast_atfr.datasets.demo_scene import TEMPLATES
from slowfast_atfr.engine.checkpoint import last_checkpoint, load_for_test
from slowfast_atfr.engine.cli import exit_status, train_and_test
from slowfast_atfr.engine.launch import launch
from slowfast_atfr.models import build_model
from slowfast_atfr.sgs import record
from slowfast_atfr.utils.stop import stopped_by_signals

RUNS = {"SlowFast-R18": "SLOWFAST_R18.yaml", "SlowFast-R18 + ATFR": "SLOWFAST_R18_ATFR.yaml"}
COLUMNS = {
    "top-1 %": "top1_acc",
    "GFLOPs/clip": "gflops_per_clip",
    "maps slow": "active_bins_s2_slow",
    "maps fast": "active_bins_s2_fast",
    "clips/s": "clips_per_second",
}
AGAIN = "start the demo again to go on"
PICTURED = (0, 3, 6, 7)  # videos of the validation list that the picture shows


def run_demo(folder: Path, configs: Path, pairs: list[str]) -> int:
    """Write the data set, train and test both networks, print the table, draw the picture.

    Args:
        folder: receives data/, a folder of each run, results.md and merging.png. What is there already is kept, and
            runs go on from their last checkpoint.
        configs: folder with the demo's configs.
        pairs: KEY VALUE pairs for both runs.
    Returns:
        0, or the exit status of the run that failed; 1 where a run in the folder is of another config.
    """
    return exit_status(lambda: _run_demo(folder, configs, pairs))


def _run_demo(folder: Path, configs: Path, pairs: list[str]) -> None:
    data = folder / "data"
    cfgs = {}
    for name, config in RUNS.items():
        where = ["DATA.PATH_TO_DATA_DIR", str(data), "DATA.PATH_PREFIX", str(data / "videos")]
        cfgs[name] = load_cfg(str(configs / config), [*where, "OUTPUT_DIR", str(folder / Path(config).stem), *pairs])
        refuse_other_run(cfgs[name])
    with stopped_by_signals(AGAIN):
        write_demo_dataset(data, videos_per_class_train=40, videos_per_class_val=25)
    results = {}
    for name, cfg in cfgs.items():
        launch(train_and_test, cfg)
        results[name] = last_stats(Path(cfg.OUTPUT_DIR) / "stdout.log", "test_final")
    table = comparison(results, cfg.DATA.NUM_FRAMES // cfg.SLOWFAST.ALPHA, cfg.DATA.NUM_FRAMES)
    (folder / "results.md").write_text(table, encoding="utf-8")
    with stopped_by_signals(AGAIN):
        draw_validation_clips(folder / "merging.png", cfg)
    print(f"\n{table}\n\nThe table: {folder / 'results.md'}\nWhat was merged with what: {folder / 'merging.png'}")


def refuse_other_run(cfg: CfgNode) -> None:
    """Raise ConfigError if the newest checkpoint of OUTPUT_DIR was trained with another config."""
    file = last_checkpoint(cfg.OUTPUT_DIR)
    changed = file.changes(cfg) if file else {}
    if changed:
        raise ConfigError(f"{file.path} is of another demo ({told(changed)}); remove the folder, or give another one")


def last_stats(log: Path, kind: str) -> dict[str, Any]:
    """The last json_stats line of a kind in a log.

    Raises:
        ValueError: if there is none.
    """
    lines = [line.partition("json_stats: ")[2] for line in log.read_text(encoding="utf-8").splitlines()]
    stats = [entry for entry in map(json.loads, filter(None, lines)) if entry["_type"] == kind]
    if not stats:
        raise ValueError(f"{log} has no json_stats line of type {kind}")
    return stats[-1]


def comparison(results: Mapping[str, Mapping[str, Any]], slow_frames: int, fast_frames: int) -> str:
    """A markdown table of test_final figures; a network without SGS has all its maps."""
    dense = {"active_bins_s2_slow": slow_frames, "active_bins_s2_fast": fast_frames}
    lines = [["", *COLUMNS], ["---", *("---:" for _ in COLUMNS)]]
    for name, stats in results.items():
        values = [float({**dense, **stats}[key]) for key in COLUMNS.values()]
        lines.append([name, *(f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in values)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


@torch.inference_mode()
def draw_validation_clips(path: Path, cfg: CfgNode) -> None:
    """Draw what the fast pathway's SGS did to some validation clips, with the weights of the newest checkpoint."""
    dataset, model = build_dataset(cfg.TRAIN.DATASET, cfg, "val"), build_model(cfg)
    load_for_test(cfg, model)
    model.eval()
    classes = [template.replace("[something]", "something") for template in TEMPLATES.values()]
    pictures = []
    for index in PICTURED:
        clip = dataset[index]
        with record(model) as log, count_macs(model) as macs:
            scores = model(pathways(clip.frames[None], cfg))
        guess, gflops = classes[int(scores.argmax())], float(macs.take()[0]) * 1e-9
        title = f"“{classes[clip.label]}”, taken for “{guess}”, {gflops:.2f} GFLOPs; fast pathway after res2"
        pictures.append(ClipPicture(np.asarray(clip.frames), log["s2_sgs.pathway1"][0], title))
    draw_merging(path, pictures)
