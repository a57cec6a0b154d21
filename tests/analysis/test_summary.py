"""The table of a network's layers: its sums are those of the network, its rows those of the paper's table."""

import pytest
import torch
from torch import nn

from slowfast_atfr.analysis import clip_macs, model_summary
from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.models import MODEL_REGISTRY, build_model
from slowfast_atfr.sgs import insert_sgs
from tests import foreign

CONFIGS = ["Kinetics/SLOWFAST_4x16_R50", "Mini_Kinetics/X3D_S_TEMPORAL_ATTENTION", "Mini_Kinetics/3DRESNET18"]
MORE = ["Kinetics/X3D_S", "Kinetics/SLOW_8x8_R50", "Kinetics/I3D_NLN_8x8_R50"]


def load(repo, name, *pairs):
    return load_cfg(str(repo / "configs" / f"{name}.yaml"), list(pairs))


@pytest.mark.parametrize("name", [*CONFIGS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_sums_are_those_of_the_network(repo, name):
    cfg = load(repo, name)
    summary = model_summary(cfg, crop=64)
    with torch.device("meta"):
        model = build_model(cfg)
        clips = torch.empty(1, 3, cfg.DATA.NUM_FRAMES, 64, 64)
        inputs = [clips[:, :, :: cfg.SLOWFAST.ALPHA], clips] if cfg.MODEL.ARCH == "slowfast" else [clips]
        assert summary.gflops * 1e9 == pytest.approx(clip_macs(model, inputs).item())
    assert summary.params == sum(parameter.numel() for parameter in model.parameters())
    assert [row.layer for row in summary.rows if row.pathway != "fast"] == [name for name, _ in model.named_children()]


def test_a_summary_forms_no_process_groups(repo, monkeypatch):
    def form(size, timeout):
        raise AssertionError("only some processes summarise")

    monkeypatch.setattr("slowfast_atfr.models.norm.sync_group", form)
    model_summary(load(repo, "Kinetics/X3D_S", "BN.NORM_TYPE", "sync_batchnorm"), crop=32)


def test_a_compiled_network_has_the_rows_of_the_same_one_as_it_is(repo):
    plain, compiled = (
        model_summary(load(repo, "Mini_Kinetics/3DRESNET18_ATFR", "MODEL.COMPILE", value), crop=32)
        for value in ("False", "True")
    )
    assert compiled.rows == plain.rows


def test_sgs_with_all_its_bins_costs_the_base_and_its_embedding(repo):
    base, atfr = (model_summary(load(repo, f"Kinetics/SLOWFAST_4x16_R50{suffix}")) for suffix in ("", "_ATFR"))
    added = [row for row in atfr.rows if row.layer == "s2_sgs"]
    assert [row.pathway for row in added] == ["slow", "fast"]
    assert [row.output for row in added] == [(256, 4, 56, 56), (32, 32, 56, 56)]
    assert [row.macs for row in added] == [4 * (256 * 128 + 128 * 8), 32 * (32 * 16 + 16 * 8)]
    assert [row for row in atfr.rows if row.layer != "s2_sgs"] == list(base.rows)


def test_each_map_of_3dresnet18_is_worth_0_482_gflops(repo):
    """Our count is 18.06 GFLOPs with 32 maps; the supplement's 14.0 and 5.5 are those of 23.6 and 5.9 maps."""
    cfg = load(repo, "Mini_Kinetics/3DRESNET18_ATFR")
    gflops = [model_summary(cfg, [active]).gflops for active in (32, 24, 23, 6)]
    assert gflops[0] == pytest.approx(18.06, abs=0.005)
    assert (gflops[0] - gflops[1]) / 8 == pytest.approx(0.482, abs=0.0005)
    assert (gflops[1] + gflops[2]) / 2 == pytest.approx(14.0, abs=0.05) and gflops[3] == pytest.approx(5.5, abs=0.05)
    assert model_summary(cfg, [99]).gflops == gflops[0]


def test_rows_are_those_of_table_a_1(repo):
    rows = {row.layer: row for row in model_summary(load(repo, "Mini_Kinetics/3DRESNET18_ATFR"), [16]).rows}
    assert rows["s1"].kernel == "5x7x7, 8; max 1x3x3" and rows["s1"].output == (8, 32, 56, 56)
    assert rows["s2"].kernel == "[3x1x1, 8; 1x3x3, 8; 1x1x1, 32] x 2"
    assert rows["s2_sgs"].kernel == "SGS: linear, 16; linear, 8" and rows["s2_sgs"].output == (32, 16, 56, 56)
    assert rows["s5"].kernel == "[3x1x1, 256; 1x3x3, 256; 1x1x1, 1024] x 2" and rows["s5"].output == (1024, 16, 7, 7)
    assert rows["head"].kernel == "linear, 194" and rows["head"].output == ()


def test_gates_and_shortcuts_are_left_out_of_the_kernels_alone(repo):
    rows = {row.layer: row for row in model_summary(load(repo, "Kinetics/X3D_S")).rows}
    assert rows["s2"].kernel == "[1x1x1, 54; 3x3x3, 54; 1x1x1, 24] x 3"
    assert rows["head"].kernel == "1x1x1, 432; 1x1x1, 2048; linear, 400"


def test_non_local_blocks_and_the_pool_of_i3d_have_their_place(repo):
    rows = {row.layer: row for row in model_summary(load(repo, "Kinetics/I3D_NLN_8x8_R50_ATFR"), [3], crop=64).rows}
    assert (rows["pathway0_pool"].kernel, rows["pathway0_pool"].output[1]) == ("max 2x1x1", 4)
    assert rows["s2_sgs"].output[1] == rows["s3"].output[1] == 3
    blocks = "3x1x1, 128; 1x3x3, 128; 1x1x1, 512; 1x1x1, 128; 1x3x3, 128; 1x1x1, 512; non-local, 256"
    assert rows["s3"].kernel == f"[{blocks}] x 2"
    alike = {row.layer: row for row in model_summary(load(repo, "Kinetics/SLOW_NLN_8x8_R50"), crop=64).rows}
    assert alike["s4"].kernel == "[[3x1x1, 256; 1x3x3, 256; 1x1x1, 1024] x 2; non-local, 512] x 3"
    assert rows["s5"].kernel.startswith("1x1x1, 512; 1x3x3, 512; 1x1x1, 2048; 3x1x1, 512;")


def test_rows_come_in_the_order_of_the_clips(repo):
    cfg = load(repo, "Kinetics/I3D_8x8_R50_ATFR", "TEMPORAL_ATTENTION.ENABLE", "True")
    rows = model_summary(cfg, crop=32).rows
    assert [row.layer for row in rows][1:6] == ["s2", "pathway0_pool", "s2_attention", "s2_sgs", "s3"]


def test_pathways_and_stages_keep_their_own_bins(repo):
    cfg = load(repo, "Kinetics/SLOWFAST_8x8_R50_ATFR", "SGS.STAGES", "[res2, res3]")
    frames = {(row.layer, row.pathway): row.output[1] for row in model_summary(cfg, [2, 20]).rows if row.output}
    assert (frames["s2_sgs", "slow"], frames["s2_sgs", "fast"]) == (2, 20)
    assert (frames["s3", "slow"], frames["s3", "fast"]) == (5, 20)  # padded to a quarter of the fast pathway's
    assert (frames["s3_sgs", "slow"], frames["s4", "slow"], frames["s4", "fast"]) == (2, 5, 20)


def test_networks_of_others_are_summarised(repo, monkeypatch):
    make, after = foreign.NETWORKS["r3d"]

    class Listed(nn.Module):
        def __init__(self, cfg):
            super().__init__()
            self.network = insert_sgs(make(), after, channels=8)

        def forward(self, pathways):
            return self.network(pathways[0])

    monkeypatch.setitem(MODEL_REGISTRY._obj_map, "Listed", Listed)
    cfg = load(repo, "Kinetics/SLOW_8x8_R50", "MODEL.MODEL_NAME", "Listed")
    base, (all_maps, half) = (
        clip_macs(make(), torch.randn(1, 3, 8, 32, 32)).item(),
        (model_summary(cfg, active, crop=32) for active in ([8], [4])),
    )
    assert all_maps.gflops * 1e9 == pytest.approx(base + 8 * (8 * 4 + 4 * 8))
    assert half.gflops < all_maps.gflops and half.params == all_maps.params


class Unusual(nn.Module):
    """One layer twice, one by name, one that gives a dict, one for training alone, and a matrix of its own."""

    def __init__(self, cfg):
        super().__init__()
        self.twice, self.named, self.auxiliary = nn.Conv3d(3, 3, 1), nn.Linear(3, 4), nn.Linear(3, 7)
        self.boxed = Boxed()
        self.matrix = nn.Parameter(torch.ones(4, 2))

    def forward(self, pathways):
        x = self.boxed(self.twice(self.twice(pathways[0])))["maps"].mean((2, 3, 4))
        scores = self.named(input=x) @ self.matrix
        return (scores, self.auxiliary(x)) if self.training else scores


class Boxed(nn.Module):
    def forward(self, x):
        return {"maps": x}


def test_unusual_networks_of_others_add_up(repo, monkeypatch):
    monkeypatch.setitem(MODEL_REGISTRY._obj_map, "Unusual", Unusual)
    summary = model_summary(load(repo, "Kinetics/SLOW_8x8_R50", "MODEL.MODEL_NAME", "Unusual"), crop=32)
    assert {row.layer: (row.macs, row.params) for row in summary.rows} == {
        "twice": (2 * 9 * 8 * 32 * 32, 12),
        "named": (12, 16),
        "auxiliary": (0, 28),
        "boxed": (0, 0),
        "Unusual": (8, 8),
    }
    assert {row.layer: row.output for row in summary.rows if row.output} == {"twice": (3, 8, 32, 32)}


def test_products_of_the_network_itself_have_a_row(repo, monkeypatch):
    class Gram(nn.Module):
        def __init__(self, cfg):
            super().__init__()
            self.linear = nn.Linear(9, 2)

        def forward(self, pathways):
            flat = pathways[0].flatten(2)
            return self.linear((flat @ flat.mT).flatten(1))

    monkeypatch.setitem(MODEL_REGISTRY._obj_map, "Gram", Gram)
    summary = model_summary(load(repo, "Kinetics/SLOW_8x8_R50", "MODEL.MODEL_NAME", "Gram"), crop=32)
    assert [(row.layer, row.macs) for row in summary.rows] == [("linear", 18), ("Gram", 9 * 8 * 32 * 32)]


def test_rows_stand_in_the_order_in_which_a_clip_passes_the_layers(repo):
    cfg = load(repo, "Mini_Kinetics/X3D_S_TEMPORAL_ATTENTION", "SGS.ENABLE", "True")
    layers = [row.layer for row in model_summary(cfg, crop=64).rows]
    assert layers == ["s1", "s2", "s2_attention", "s2_sgs", "s3", "s4", "s5", "head"]


@pytest.mark.parametrize("active", [[], [0], [1, 2]])
def test_bins_that_cannot_be_are_reported(repo, active):
    with pytest.raises(ConfigError, match="takes 1 or 1 numbers of bins, each at least 1"):
        model_summary(load(repo, "Kinetics/X3D_S_ATFR"), active)


def test_the_table_has_a_line_for_each_row_and_the_sums(repo):
    summary = model_summary(load(repo, "Kinetics/SLOWFAST_8x8_R50_ATFR"))
    lines = str(summary).splitlines()
    assert len(lines) == len(summary.rows) + 2
    assert lines[0].split() == ["layer", "pathway", "kernel", "output", "GFLOPs", "parameters"]
    assert lines[-1].split() == ["all", f"{summary.gflops:.4f}", f"{summary.params:,}"]
    assert "pathway" not in str(model_summary(load(repo, "Kinetics/X3D_S"))).splitlines()[0]
