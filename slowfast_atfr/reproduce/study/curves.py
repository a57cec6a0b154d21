"""The accuracy study's results as curves of accuracy over cost."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slowfast_atfr.analysis.figures import new_figure
from slowfast_atfr.analysis.merging import COLORS
from slowfast_atfr.config import ConfigError
from slowfast_atfr.reproduce.study.report import Line, cost_of_base, networks, recipes, standard_error
from slowfast_atfr.reproduce.study.variants import BASE, COUNTED, FREE, SCRATCH, TUNED, VARIANTS

FAMILIES = {variant.name: variant.family for variant in VARIANTS}


def draw_curves(path: Path, lines: Sequence[Line]) -> None:
    """Draw top-1 over the share of the base's cost: a panel for each recipe and start, a curve for each kind of SGS.

    Bars are standard errors, as in `study_table`; the dashed line is the network without SGS. Panels without two points
    on a curve are left out.

    Args:
        path: PNG to write; its folder must exist.
        lines: results.
    Raises:
        ConfigError: if there is no panel.
        ImportError: without matplotlib, with the command that installs it.
    """
    panels = [(own, start) for own in recipes(lines) for start in (FREE, COUNTED, TUNED, SCRATCH)]
    panels = [(own, start, curves) for own, start in panels if (curves := _curves(own, start))]
    if not panels:
        raise ConfigError("no network has been tested at two numbers of maps, with a base: there is no curve to draw")
    names = list(dict.fromkeys(name for *_, curves in panels for name in curves))
    figure = new_figure(4.4 * len(panels), 4.6)
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (own, start, curves) in zip(every, panels, strict=True):
        for name, (cost, top1, error) in curves.items():
            index = names.index(name)
            style = {"color": COLORS[index % len(COLORS)], "marker": "osD^vP*X"[index % 8], "label": name}
            axes.errorbar(cost, top1, error, capsize=3, **style)
        base = [
            line["top1_acc"] for line in own if line["variant"] == BASE.name and line["start"] == _base_of(own, start)
        ]
        axes.axhline(np.mean(base), color="black", linestyle="--", linewidth=1, label="without SGS, all maps")
        axes.set_title(f"{own[0]['data']}, {own[0]['frames']} maps, {start}", fontsize=10)
        axes.set_xlabel("share of the base's multiply-adds")
        axes.grid(color="#dddddd", linewidth=0.7)
    every[0].set_ylabel("top-1 accuracy (%)")
    handles = {text: handle for axes in every for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(4, len(handles)), fontsize=9)
    figure.savefig(path, dpi=110)


def _curves(lines: Sequence[Line], start: str) -> dict[str, tuple[np.ndarray, ...]]:
    """Share of the base's cost, mean top-1 and its standard error of each family with two points, by cost."""
    dense, points = cost_of_base(lines), {}
    for (own_start, variant), group in networks(lines).items():
        if own_start == start and variant != BASE.name and dense is not None:
            top1 = np.array([line["top1_acc"] for line in group])
            cost = np.mean([line["gflops_per_clip"] for line in group]) / dense
            point = cost, top1.mean(), standard_error(top1, group[0]["num_videos"])
            points.setdefault(FAMILIES.get(variant, variant), []).append(point)
    return {name: tuple(np.array(sorted(own)).T) for name, own in points.items() if len(own) > 1}


def _base_of(lines: Sequence[Line], start: str) -> str:
    """The start whose base is shown: the same one, if it has one."""
    return start if (start, BASE.name) in networks(lines) else SCRATCH
