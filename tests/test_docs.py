"""The pages' examples run and print what they say, and their pictures are what the code draws."""

import doctest

import pytest

from slowfast_atfr.analysis import model_summary
from slowfast_atfr.config import load_cfg

PAGES = ["docs/sgs.md"]
POSITIONS = [5, 4.8, 1, 1.2, 1, 8, 7, 5.2]  # of the worked example


@pytest.mark.parametrize("page", PAGES)
def test_examples_print_what_the_page_says(repo, page):
    found = doctest.testfile(str(repo / page), module_relative=False)
    assert found.attempted > 5 and found.failed == 0


def test_the_picture_of_the_worked_example_can_be_drawn(tmp_path, repo):
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    from slowfast_atfr.analysis.bin_figure import draw_bins

    draw_bins(tmp_path / "bins.png", POSITIONS, 4)
    assert ", ".join(map(str, POSITIONS)) in (repo / PAGES[0]).read_text(encoding="utf-8")
    drawn, shown = imread(tmp_path / "bins.png"), imread(repo / "docs" / "sgs_bins.png")
    assert drawn.shape == shown.shape and abs(drawn - shown).mean() < 0.004  # another kernel: 0.009


def test_the_table_of_layers_is_what_the_function_prints(repo):
    cfg = load_cfg(str(repo / "configs/Mini_Kinetics/3DRESNET18_ATFR.yaml"))
    table = str(model_summary(cfg, active=[16]))
    assert f"```\n{table}\n```" in (repo / "docs/getting_started.md").read_text(encoding="utf-8")
