"""The accuracy study's results as curves of accuracy over cost."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slowfast_atfr.analysis.figures import new_figure
from slowfast_atfr.analysis.merging import COLORS
from slowfast_atfr.config import ConfigError
from slowfast_atfr.reproduce.study.report import Line, cost_of_base, networks, recipes, standard_error
from slowfast_atfr.reproduce.study.variants import BASE, COUNTED, FREE, SCRATCH, TUNED, family

STARTS, MARKERS = (FREE, COUNTED, TUNED, SCRATCH), "osD^vP*X"


def draw_curves(path: Path, lines: Sequence[Line]) -> None:
    """Draw top-1 over the share of the base's cost: a row for each recipe, a column for each start.

    Bars are standard errors, as in `study_table`; the dashed line is the network without SGS. A panel needs two points
    on a curve.

    Args:
        path: PNG to write; its folder must exist.
        lines: results.
    Raises:
        ConfigError: if there is no panel.
        ImportError: without matplotlib, with the command that installs it.
    """
    rows = [(own, {start: curves for start in STARTS if (curves := _curves(own, start))}) for own in recipes(lines)]
    rows = [(own, panels) for own, panels in rows if panels]
    if not rows:
        raise ConfigError("no network has been tested at two numbers of maps, with a base: there is no curve to draw")
    starts = [start for start in STARTS if any(start in panels for _, panels in rows)]
    kinds = list(dict.fromkeys(kind for _, panels in rows for curves in panels.values() for kind in curves))
    figure = new_figure(4.4 * len(starts), 0.6 + 3.6 * len(rows))
    every = figure.subplots(len(rows), len(starts), sharex="row", sharey="row", squeeze=False)
    for (own, panels), line_of_axes in zip(rows, every, strict=True):
        line_of_axes[0].set_ylabel(f"{_title(own)}\ntop-1 accuracy (%)")
        for start, axes in zip(starts, line_of_axes, strict=True):
            if start not in panels:
                axes.axis("off")
                continue
            for kind, (cost, top1, error) in panels[start].items():
                index = kinds.index(kind)
                style = {
                    "color": COLORS[index % len(COLORS)],
                    "marker": MARKERS[index // len(COLORS) % len(MARKERS)],
                    "label": kind,
                }
                axes.errorbar(cost, top1, error, capsize=3, **style)
            axes.axhline(_base_top1(own, start), color="black", linestyle="--", linewidth=1, label="without SGS")
            axes.set_title(start, fontsize=10)
            axes.grid(color="#dddddd", linewidth=0.7)
    for axes in every[-1]:
        axes.set_xlabel("share of the base's multiply-adds")
    handles = {
        text: handle for axes in every.flat for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=int(1.4 * len(starts)), fontsize=9)
    figure.savefig(path, dpi=110)


def _title(lines: Sequence[Line]) -> str:
    """The data, TEST.DATASET if it is set, and the maps of a clip."""
    pairs = lines[0]["pairs"]
    kind = dict(zip(pairs[::2], pairs[1::2], strict=False)).get("TEST.DATASET", "")
    return ", ".join(filter(None, [lines[0]["data"], kind, f"{lines[0]['frames']} maps"]))


def _curves(lines: Sequence[Line], start: str) -> dict[str, tuple[np.ndarray, ...]]:
    """Share of the base's cost, mean top-1 and its standard error of each family with two points, by cost."""
    dense, points = cost_of_base(lines), {}
    for (own_start, variant), group in networks(lines).items():
        if own_start == start and variant != BASE.name and dense is not None:
            top1 = np.array([line["top1_acc"] for line in group])
            cost = np.mean([line["gflops_per_clip"] for line in group]) / dense
            point = cost, top1.mean(), standard_error(top1, group[0]["num_videos"])
            points.setdefault(family(variant), []).append(point)
    return {name: tuple(np.array(sorted(own)).T) for name, own in points.items() if len(own) > 1}


def _base_top1(lines: Sequence[Line], start: str) -> float:
    """Mean top-1 of the base with the same start, else of the one trained from scratch, else of any."""
    bases = {own: group for (own, variant), group in networks(lines).items() if variant == BASE.name}
    group = bases.get(start) or bases.get(SCRATCH) or next(iter(bases.values()))
    return float(np.mean([line["top1_acc"] for line in group]))
