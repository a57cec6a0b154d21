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


def check_png(path, shown):
    image = pytest.importorskip("matplotlib.image")
    drawn, kept = image.imread(path), image.imread(shown)
    assert drawn.shape == kept.shape and abs(drawn - kept).mean() < 0.004  # bins with another kernel: 0.009


def test_the_picture_of_the_worked_example_is_what_is_drawn(load, repo, tmp_path):
    figure = load("bins")
    figure.draw_bins(tmp_path / "bins.png", figure.POSITIONS, 4)
    assert ", ".join(map(str, figure.POSITIONS)) in (repo / "docs/sgs.md").read_text(encoding="utf-8")
    check_png(tmp_path / "bins.png", figure.OUTPUT)


def test_the_picture_of_the_architecture_is_what_is_drawn_and_names_files(load, repo, tmp_path):
    figure = load("architecture")
    figure.draw_architecture(tmp_path / "architecture.png")
    check_png(tmp_path / "architecture.png", figure.OUTPUT)
    files = [file for _, _, boxes in figure.ROWS.values() for _, names in boxes for file in names.split(", ")]
    assert all((repo / "slowfast_atfr" / file).exists() for file in files)
