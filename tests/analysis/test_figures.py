"""The pictures can be drawn for one coordinate and for several, and show as many rows as there are clips."""

import pytest
import torch

from slowfast_atfr.sgs import SGS, record

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("similarity", ["magnitude", "spherical"])
def test_what_was_merged_is_drawn_clip_by_clip(tmp_path, similarity):
    from matplotlib.image import imread

    from slowfast_atfr.analysis.figures import ClipPicture, draw_merging

    sgs = SGS(4, num_bins=2, block_size=6, similarity=similarity).eval()
    with record(sgs) as log:
        sgs(torch.randn(2, 4, 12, 5, 5))
    frames = torch.randint(0, 256, (12, 8, 8, 3), dtype=torch.uint8).numpy()
    pictures = [ClipPicture(frames, clip, "a clip") for clip in log[""]]
    draw_merging(tmp_path / "one.png", pictures[:1])
    draw_merging(tmp_path / "two.png", pictures)
    one, two = imread(tmp_path / "one.png"), imread(tmp_path / "two.png")
    assert two.shape[0] == 2 * one.shape[0] and two.std() > 0.05
