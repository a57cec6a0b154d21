"""The picture in the docs is what the code draws."""

import cv2
import numpy as np

from slowfast_atfr.reproduce.augmentation_figure import ROWS, draw_augmentations


def test_the_picture_is_what_is_drawn(repo, tmp_path):
    draw_augmentations(tmp_path / "drawn.jpg")
    shown = repo / "docs" / "augmentation.jpg"
    drawn, kept = cv2.imread(str(tmp_path / "drawn.jpg")), cv2.imread(str(shown))
    assert drawn.shape == kept.shape and np.abs(drawn.astype(int) - kept).mean() < 2
    assert shown.stat().st_size < 150_000
    rows = np.split(drawn[:, -100:].astype(int), len(ROWS) + 3)  # the last frame of each
    differences = [np.abs(one - other).mean() for i, one in enumerate(rows) for other in rows[:i]]
    assert min(differences) > 2  # every augmentation shows
