"""Tables of the accuracy study's results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from slowfast_atfr.analysis import markdown
from slowfast_atfr.reproduce.study.variants import BASE, SCRATCH, UNIFORM_OF
from slowfast_atfr.reproduce.table_report import MAPS

Line = Mapping[str, Any]
HEADER = ["network", "training", "seeds", "top-1 %", "+-", "over uniform", "GFLOPs", "of base", "mean maps", "clips/s"]


def study_table(lines: Sequence[Line]) -> str:
    """Return a table for each data set and recipe: top-1 of each network with its standard error, cost, maps, speed.

    All are means over seeds. The standard error is the larger of the binomial one, over the clips of all seeds, and
    that of the mean of the seeds. "over uniform" is the mean over seeds, with a lower bound of its standard error, of
    the difference from uniform pooling to as many bins, trained alike from the same seed.
    """
    tables = []
    for own in recipes(lines):
        dense, groups = cost_of_base(own), networks(own)
        rows = [_row(group, _over_uniform(group, own), dense) for group in groups.values()]
        pairs = " ".join(own[0]["pairs"])
        title = "; ".join(filter(None, [f"{own[0]['data']}, {own[0]['num_videos']:.0f} test clips", pairs]))
        tables.append(markdown.table(HEADER, rows, title=title))
        started = [line for line in own if line["start"] != SCRATCH]
        unknown = sum("base" not in line for line in started)
        if 0 < unknown < len(started):
            tables.append(f"{unknown} results do not record their base, and are not compared with those that do.")
    return "\n\n".join(tables) or "no results yet"


def recipes(lines: Sequence[Line]) -> list[list[Line]]:
    """Return the lines of each data set and recipe, which can be compared with each other."""
    return list(_grouped(lines, lambda line: (line["data"], line["lists"], " ".join(line["pairs"]))).values())


def networks(lines: Sequence[Line]) -> dict[tuple[str, str], list[Line]]:
    """Return the lines of each start and variant: one for each seed."""
    return _grouped(lines, lambda line: (line["start"], line["variant"]))


def _grouped(lines: Sequence[Line], key: Callable[[Line], Any]) -> dict[Any, list[Line]]:
    groups: dict[Any, list[Line]] = {}
    for line in lines:
        groups.setdefault(key(line), []).append(line)
    return groups


def cost_of_base(lines: Sequence[Line]) -> float | None:
    """Return the GFLOPs of the network without SGS; None if it has not been tested."""
    dense = [line["gflops_per_clip"] for line in lines if line["variant"] == BASE.name]
    return float(np.mean(dense)) if dense else None


def _row(group: Sequence[Line], over_uniform: str, dense: float | None) -> list[str]:
    top1, cost, speed = (_column(group, key) for key in ("top1_acc", "gflops_per_clip", "clips_per_second"))
    maps = np.mean([line.get(MAPS, line["frames"]) for line in group])
    share = f"{cost.mean() / dense:.2f}" if dense else ""
    first = group[0]
    spread = f"{standard_error(top1, first['num_videos']):.1f}"
    cells = [first["variant"], first["start"], str(len(group)), f"{top1.mean():.1f}", spread, over_uniform]
    return [*cells, f"{cost.mean():.3g}", share, f"{maps:.1f}", f"{np.median(speed):.3g}"]


def _over_uniform(group: Sequence[Line], lines: Sequence[Line]) -> str:
    """Format the mean difference within seeds as "2.1 +- 0.4", of one seed as "2.1", of none as "".

    Two runs are compared only if they start from the same weights of the base.
    """
    key = (group[0]["start"], UNIFORM_OF.get(group[0]["variant"]))
    uniform = {_seed_and_base(line): line["top1_acc"] for line in lines if (line["start"], line["variant"]) == key}
    more = np.array(
        [line["top1_acc"] - uniform[_seed_and_base(line)] for line in group if _seed_and_base(line) in uniform]
    )
    if not len(more):
        return ""
    error = f" +- {error_of_difference(more, group[0]['num_videos']):.1f}" if len(more) > 1 else ""
    return f"{more.mean():.1f}{error}"


def _seed_and_base(line: Line) -> tuple[int, str | None]:
    return line["seed"], line.get("base")


def error_of_difference(points: np.ndarray, clips: float) -> float:
    """Return a lower bound of the standard error of a mean difference, in points, of two networks on the same clips.

    Args:
        points: the differences of several seeds.
        clips: test clips of a seed.
    Returns:
        the larger of two errors: from the spread of the seeds, and from McNemar's test, the root of the number of clips
        that only one network has right. Their number is not known; it is at least the difference, and at least one.
    """
    disagree = max(1.0, abs(points.sum()) / 100 * clips)
    spread = points.std(ddof=1) / np.sqrt(len(points))
    return float(max(100 * np.sqrt(disagree) / (clips * len(points)), spread))


def _column(group: Sequence[Line], key: str) -> np.ndarray:
    return np.array([float(line[key]) for line in group])


def standard_error(percents: np.ndarray, clips: float) -> float:
    """Return that of the mean of shares of `clips` each, in points: binomial, or from their spread if larger."""
    share = percents.mean() / 100
    binomial = 100 * np.sqrt(share * (1 - share) / (clips * len(percents)))
    spread = percents.std(ddof=1) / np.sqrt(len(percents)) if len(percents) > 1 else 0.0
    return float(max(binomial, spread))
