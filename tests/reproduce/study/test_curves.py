"""Curves of the accuracy study: which points belong together, and what a picture needs."""

import numpy as np
import pytest

from slowfast_atfr.analysis.figures import new_figure
from slowfast_atfr.config import ConfigError
from slowfast_atfr.reproduce.study import curves
from slowfast_atfr.reproduce.study.accuracy_study import main
from slowfast_atfr.reproduce.study.curves import draw_curves
from slowfast_atfr.reproduce.study.variants import (
    ADAPTIVE,
    BASE,
    FREE,
    SCRATCH,
    SEGMENTS,
    TUNED,
    UNIFORM,
    VARIANTS,
    family,
)

image = pytest.importorskip("matplotlib.image")


def line(start, variant, top1, gflops, seed=0):
    shared = {"data": "tiny", "lists": "0", "pairs": [], "frames": 16, "num_videos": 100.0, "clips_per_second": 1.0}
    return shared | {"start": start, "variant": variant, "seed": seed, "top1_acc": top1, "gflops_per_clip": gflops}


RESULTS = [
    line(SCRATCH, "base", 60.0, 2.0),
    line(FREE, "uniform pooling to 8", 50.0, 1.0),
    line(FREE, "uniform pooling to 4", 30.0, 0.5, seed=0),
    line(FREE, "uniform pooling to 4", 40.0, 0.5, seed=1),
    line(TUNED, "uniform pooling to 4", 55.0, 0.5),
]


def test_a_curve_has_the_networks_that_differ_in_the_number_of_maps_alone():
    families = {}
    for variant in (*UNIFORM, *SEGMENTS, *ADAPTIVE):
        rest = {key: value for key, value in variant.sgs.items() if key not in ("NUM_BINS", "TARGET_MAPS")}
        families.setdefault(family(variant.name), []).append((rest, "TARGET_MAPS" in variant.sgs))
    assert all(len(own) == 5 and all(entry == own[0] for entry in own) for own in families.values())
    assert family(BASE.name) == "base" and not any("  " in family(variant.name) for variant in VARIANTS)


def test_points_are_means_over_seeds_and_go_by_cost():
    (found,) = curves._curves(RESULTS, FREE).items()
    assert found[0] == "uniform pooling"
    np.testing.assert_allclose(found[1][:2], [[0.25, 0.5], [35.0, 50.0]])
    assert found[1][2] == pytest.approx([5, 5]) and not curves._curves(RESULTS, TUNED)  # one point is no curve


def test_the_picture_has_a_column_for_each_start_with_a_curve_and_a_row_for_each_recipe(tmp_path):
    draw_curves(tmp_path / "one.png", RESULTS)
    more = [line(TUNED, "uniform pooling to 8", 58.0, 1.0)]
    draw_curves(tmp_path / "two.png", RESULTS + more)
    draw_curves(tmp_path / "tall.png", RESULTS + [{**entry, "data": "other"} for entry in RESULTS])
    one, two, tall = (image.imread(tmp_path / f"{name}.png") for name in ("one", "two", "tall"))
    assert two.shape[1] == pytest.approx(2 * one.shape[1], abs=2) and two.shape[0] == one.shape[0]
    assert tall.shape[1] == one.shape[1] and 1.5 * one.shape[0] < tall.shape[0] < 2 * one.shape[0]
    with pytest.raises(ConfigError, match="no network has been tested at two numbers"):
        draw_curves(tmp_path / "none.png", RESULTS[1:])  # costs are shares of the base's


def test_the_base_is_that_of_the_start_or_the_one_that_there_is():
    tuned = [line(TUNED, "base", 70.0, 2.0)]
    assert curves._base_top1(RESULTS + tuned, FREE) == 60 and curves._base_top1(RESULTS + tuned, TUNED) == 70
    assert curves._base_top1(tuned, FREE) == 70


def test_the_legend_fits_the_narrowest_picture_and_no_two_curves_look_alike(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(curves, "new_figure", lambda *size: figures.append(new_figure(*size)) or figures[-1])
    kinds = [variant.name for variant in (*UNIFORM, *SEGMENTS, *ADAPTIVE)]
    draw_curves(
        tmp_path / "all.png", [RESULTS[0], *(line(FREE, name, 50.0, 1.0 + i / 99) for i, name in enumerate(kinds))]
    )
    (figure,) = figures
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    styles = [(each[0].get_color(), each[0].get_marker()) for each in figure.axes[0].containers]
    assert len(set(styles)) == len(styles) == len(set(map(family, kinds)))


def test_the_command_draws_it(repo, tmp_path):
    done = repo / "docs" / "accuracy" / "drawn"
    assert main(repo / "configs", ["--out", str(done), "--picture", str(tmp_path / "drawn.png")]) == 0
    assert (tmp_path / "drawn.png").stat().st_size > 10_000
