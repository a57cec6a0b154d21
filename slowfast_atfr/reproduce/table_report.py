"""Compare published figures with ours: in markdown, as data for JSON, and as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from slowfast_atfr.analysis import markdown, model_summary
from slowfast_atfr.analysis.figures import new_figure
from slowfast_atfr.analysis.merging import COLORS
from slowfast_atfr.reproduce.implied_maps import implied_maps
from slowfast_atfr.reproduce.tables import Row, Table

MAPS = "active_bins_s2"
PUBLISHED = ("published top-1 %", "published top-5 %", "published GFLOPs")


def cost_table(table: Table, cfgs: Sequence[CfgNode]) -> str:
    """Return our cost of each row with all maps, the published figures, and the mean maps that these imply."""
    header, rows = ["network", "config", "GFLOPs, all maps, our count", *PUBLISHED, "implied mean maps", "of"], []
    for row, cfg in zip(table.rows, cfgs, strict=True):
        implied = str(implied_maps(cfg, row.gflops)) if cfg.SGS.ENABLE and row.gflops else ""
        cost, published = f"{model_summary(cfg).gflops:.2f}", [row.top1, row.top5, row.gflops]
        rows.append([row.name, row.config, cost, *published, implied, str(cfg.DATA.NUM_FRAMES)])
    return markdown.table(header, rows, title=f"Table {table.key}: {table.title}")


def printed_table(table: Table) -> str:
    """Return a table as printed in the supplement."""
    header, *rows = table.printed
    return markdown.table(header, rows, title=f"Table {table.key} as printed: {table.title}")


def ratio_table(table: Table, ours: Mapping[str, str] | None = None) -> str:
    """Return ratios of table A.2's published figures, ATFR over base, and ours, if there are any."""
    rows = []
    for name, (atfr, base) in table.ratios.items():
        ratio = float(atfr.rstrip("h")) / float(base.rstrip("h"))
        rows.append([name, f"{ratio:.2f}", f"{atfr} / {base}", *([ours[name]] if ours else [])])
    title = "Derived from these figures, and from the batches of 208 and 256 clips that fit"
    header = ["ATFR over base", "ratio", "of the published", *(["ours"] if ours else [])]
    return markdown.table(header, rows, title=title)


def result_table(
    table: Table, cfgs: Sequence[CfgNode], results: Sequence[Sequence[dict[str, Any]]]
) -> tuple[str, list[dict[str, Any]]]:
    """Compare the results of the rows of a table with the published figures.

    Args:
        table: with its rows.
        cfgs: of the rows.
        results: `test_final` figures of each row and split.
    Returns:
        markdown, and for each row a dict with name, config, splits (all figures) and their means.
    """
    share = "of all maps' cost"
    header = ["network", "top-1 %", "top-5 %", "GFLOPs", share, *PUBLISHED, f"{share}, our count", "difference"]
    header += ["mean maps", "of", "clips/s"]
    rows, data = [], []
    for row, cfg, splits in zip(table.rows, cfgs, results, strict=True):
        means = _means(splits)
        cost, maps = means["gflops_per_clip"], f"{means[MAPS]:.1f}" if MAPS in means else ""
        ours = cost / _cost_of_a_test_clip(cfg)
        theirs = float(row.gflops) / table.counted_gflops if row.gflops else None
        compared = ("", "") if theirs is None else (f"{theirs:.2f}", f"{ours - theirs:+.2f}")
        accuracies = (f"{means[key]:.1f}" for key in ("top1_acc", "top5_acc"))
        rows.append([row.name, *accuracies, f"{cost:.4g}", f"{ours:.2f}", row.top1, row.top5, row.gflops, *compared])
        rows[-1] += [maps, str(cfg.DATA.NUM_FRAMES), f"{means['clips_per_second']:.3g}"]
        data.append(_row_data(row, cfg, means, splits))
    return markdown.table(header, rows, title=f"Table {table.key}: {table.title}"), data


def _cost_of_a_test_clip(cfg: CfgNode) -> float:
    """Return the GFLOPs with all maps of a clip of the test's crop."""
    return model_summary(cfg, crop=cfg.DATA.TEST_CROP_SIZE).gflops


def _means(splits: Sequence[dict[str, Any]]) -> dict[str, float]:
    numbers = [key for key, value in splits[0].items() if key not in ("_type", "split") and _is_number(value)]
    return {key: float(np.mean([float(split[key]) for split in splits])) for key in numbers}


def _is_number(value: Any) -> bool:
    try:
        float(value)
        return True
    except (TypeError, ValueError):
        return False


def _row_data(row: Row, cfg: CfgNode, means: dict[str, float], splits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    data = {"dataset": cfg.TEST.DATASET, "lists": cfg.DATA.PATH_TO_DATA_DIR, "output": cfg.OUTPUT_DIR}
    bins = {"num_bins": list(cfg.SGS.NUM_BINS), "test_num_bins": list(cfg.SGS.TEST_NUM_BINS)} if cfg.SGS.ENABLE else {}
    figures = {"top1": row.top1, "top5": row.top5, "gflops": row.gflops}
    published = {"published": {key: float(figure) for key, figure in figures.items() if figure}}
    return {"name": row.name, "config": row.config, **data, **bins, **published, "mean": means, "splits": list(splits)}


def draw_accuracy(path: Path, title: str, data: Sequence[dict[str, Any]]) -> None:
    """Draw top-1 over GFLOPs, a point for each row of `result_table`, named in a legend.

    Raises:
        ImportError: without matplotlib, with the command that installs it.
    """
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    for index, row in enumerate(data):
        x, y = row["mean"]["gflops_per_clip"], row["mean"]["top1_acc"]
        marker, color = "osD^vP*X"[index % 8], COLORS[index % len(COLORS)]
        axes.scatter([x], [y], s=90, marker=marker, color=color, label=row["name"], edgecolors="black", linewidths=0.5)
    axes.set_xlabel("multiply-adds of a clip (GFLOPs, mean over the test)")
    axes.set_ylabel("top-1 accuracy (%)")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 100)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_title(title)
    axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=110)
