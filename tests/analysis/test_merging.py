"""Pictures and pages show the records, and nothing else."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch

from slowfast_atfr.analysis.figure_a1 import PICTURES
from slowfast_atfr.analysis.merging import COLORS, ClipMerging, LayerMerging
from slowfast_atfr.analysis.merging_page import merging_page, page_data
from slowfast_atfr.sgs import SGS, record

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)


def make_layer(name, maps=16, **options):
    torch.manual_seed(0)
    layer = SGS(4, **options).eval()
    x = torch.rand(1, 4, maps, 5, 5) * torch.linspace(0.1, 3, maps)[:, None, None]
    with record(layer) as log, torch.no_grad():
        out = layer(x)
    clip = log[""][0]
    lengths = np.bincount(clip.block)
    bins = tuple(int(length) if layer.num_bins == -1 else layer.num_bins for length in lengths)
    x, merged = x[0].numpy(), out.joined[0].numpy()
    frames = np.linspace(0, 15, maps).astype(int)
    return LayerMerging(name, clip, frames, bins, x.mean(0), merged.mean(0), x[:4], merged[:4])


@pytest.fixture(scope="module")
def clip():
    layers = make_layer("s2_sgs.pathway0", 4), make_layer("s2_sgs.pathway1", block_size=8, num_bins=5)
    frames = np.random.default_rng(0).integers(0, 255, (16, 24, 32, 3), np.uint8)
    best = (("a <b> & c", 0.6), ("d", 0.3))
    return ClipMerging("own </script> video.mp4", 0.5, 1.25, frames, best, 1.5, 2.5, layers)


@pytest.mark.parametrize("options", [{}, {"num_bins": 3}, {"block_size": 5}, {"similarity": "mean_l2", "num_bins": 6}])
def test_borders_part_the_bins(options):
    layer = make_layer("s2_sgs.pathway0", **options)
    for number, (first, end) in enumerate(layer.blocks()):
        edges = layer.borders(number)
        assert len(edges) == layer.num_bins[number] + 1
        found = np.clip(np.searchsorted(edges, layer.record.similarity[first:end], side="right") - 1, 0, len(edges) - 2)
        assert np.array_equal(found, layer.record.bin[first:end])


@pytest.mark.parametrize(
    "options", [{"similarity": "cartesian"}, {"similarity": "spherical", "coordinates": "angular"}]
)
def test_bins_of_another_kind_have_no_borders(options):
    assert make_layer("s2_sgs.pathway0", **options).borders(0) == []


def test_merged_maps_have_one_colour_and_appear_once(clip):
    for layer in clip.layers:
        members = layer.members()
        assert sorted(sum(members, [])) == list(range(len(layer.record.bin)))
        for own in members:
            assert len({layer.colors[member] for member in own}) == 1
        assert set(layer.colors) <= set(COLORS)


def test_the_page_needs_nothing_but_itself(clip):
    page = merging_page(clip)
    assert not re.search(r"""(?:src|href)=["'](?!data:)|https?://|@import|url\(""", page)
    assert "a &lt;b&gt; &amp; c 60.0%" in page and "own </script>" not in page
    assert page.count("<image ") == 4 + 16 and page.count("<figure ") == sum(x.record.num_active for x in clip.layers)
    assert "slow pathway, after res2: 4 input maps" in page and "1.5 GFLOPs" in page and "60.0%" in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_the_records_numbers(clip, tmp_path):
    (tmp_path / "page.html").write_text(merging_page(clip), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=2000", "--dump-dom", f"file://{tmp_path / 'page.html'}"]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', dom, re.S)[1])
    assert data == json.loads(json.dumps(page_data(clip)))
    for layer, written in zip(clip.layers, data["layers"], strict=True):
        np.testing.assert_array_equal(written["similarity"], layer.record.similarity.tolist())
        for name in ("bin", "output", "block"):
            assert written[name] == getattr(layer.record, name).tolist()
        section = re.search(rf'<section id="{re.escape(layer.name)}">(.*?)</section>', dom, re.S)[1]
        shown = [int(to) for to in re.findall(r'<g data-to="(\d+)"', section)]
        assert shown == layer.record.output.tolist()
        assert len(re.findall(r'<figure data-to="', section)) == written["num_active"] == layer.record.num_active


MORE_PICTURES = [(3, "means"), (40, "channels")]


@pytest.mark.parametrize(
    ("maps", "kind"),
    [(40, "means"), (3, "channels"), *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE_PICTURES)],
)
def test_the_picture_is_drawn(clip, tmp_path, maps, kind):
    pytest.importorskip("matplotlib")
    layer = make_layer("s2_sgs.pathway0", maps)
    alone = ClipMerging(clip.video, 0, 1, clip.frames, clip.best, 1, 2, (layer,))
    PICTURES[kind](tmp_path / "a.png", alone)
    assert (tmp_path / "a.png").stat().st_size > 10_000
