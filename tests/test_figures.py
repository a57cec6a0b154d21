"""The pictures of the docs are what their scripts draw."""

import importlib.util

import cv2
import numpy as np
import pytest


@pytest.fixture
def load(repo):
    """A module of docs/figures by its name."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, repo / "docs/figures" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_picture_of_the_augmentations_is_what_is_drawn(load, repo, tmp_path):
    figure = load("augmentation")
    figure.draw_augmentations(tmp_path / "drawn.jpg")
    drawn, kept = cv2.imread(str(tmp_path / "drawn.jpg")), cv2.imread(str(figure.OUTPUT))
    assert drawn.shape == kept.shape and np.abs(drawn.astype(int) - kept).mean() < 2
    assert figure.OUTPUT.stat().st_size < 150_000
    rows = np.split(drawn[:, -100:].astype(int), len(figure.ROWS) + 3)  # the last frame of each
    differences = [np.abs(one - other).mean() for i, one in enumerate(rows) for other in rows[:i]]
    assert min(differences) > 2  # every augmentation shows


def test_the_picture_of_the_worked_example_is_what_is_drawn(load, repo, tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    figure = load("bins")
    figure.draw_bins(tmp_path / "bins.png", figure.POSITIONS, 4)
    assert ", ".join(map(str, figure.POSITIONS)) in (repo / "docs/sgs.md").read_text(encoding="utf-8")
    drawn, shown = imread(tmp_path / "bins.png"), imread(figure.OUTPUT)
    assert drawn.shape == shown.shape and abs(drawn - shown).mean() < 0.004  # another kernel: 0.009
