"""The tables' figures are those of the supplement, as printed there."""

import re

import pytest

from slowfast_atfr.analysis import model_summary
from slowfast_atfr.config import load_cfg
from slowfast_atfr.reproduce.implied_maps import implied_maps
from slowfast_atfr.reproduce.tables import A1, A2, A3, A4, A5, A6, TABLES

# The rows of each table in the supplement, with its references to other papers left out.
PRINTED = {
    "A.2": """Model|Train|Inference (fps)
X3D-S|131h|2834
X3D-S+ATFR|121h|4295""",
    "A.3": """B|4|8|16|32
top1|61.4|64.7|64.7|69.6
top5|86.3|85.8|86.2|88.8
GFLOPs|3.5|4.2|5.5|14.0""",
    "A.4": """B|4|8|16|32
top1|51.1|61.4|64.4|69.6
top5|75.1|83.5|85.5|88.8
GFLOPs|3.5|5.0|8.0|14.0""",
    "A.5": """model|backbone|UCF101|HMDB51
C3D|RenNet18|89.8|62.1
RGB-I3D|Inception V1|95.6|74.8
R(2+1)D|ResNet50|96.8|74.5
DynamoNet|ResNet101|96.6|74.9
HATNet|ResNet50|97.8|76.5
3DResNet+ATFR|ResNet50|97.9|76.7""",
    "A.6": """Model|top1|GFLOPs
X3D-S|77.9|1.9
X3D-S+ATFR|78.0|1.1
X3D-S+Temporal Attention|78.3|1.9""",
}
PRINTED = {key: tuple(tuple(line.split("|")) for line in text.splitlines()) for key, text in PRINTED.items()}


@pytest.mark.parametrize("table", [A3, A4])
def test_bins(table):
    rows = [row for row in reversed(table.rows) if row.gflops]
    bins = [str(round(32 * min(share for share in (row.bins, row.test_bins) if share))) for row in rows]
    figures = {leaf: [getattr(row, leaf.lower()) for row in rows] for leaf in ("top1", "top5", "GFLOPs")}
    ours = (("B", *bins), *((name, *row) for name, row in figures.items()))
    assert ours == PRINTED[table.key]


def test_runtime():
    assert A2.printed == PRINTED["A.2"]


def test_ucf101_and_hmdb51():
    assert A5.printed == PRINTED["A.5"]
    ours = {row.name.partition(",")[0]: (row.top1, row.gflops) for row in A5.rows if row.gflops}
    assert ours == {"UCF101": (A5.printed[-1][2], "22.2"), "HMDB51": (A5.printed[-1][3], "23.1")}


def test_attention():
    figures = [(row.top1, row.gflops) for row in A6.rows]
    assert figures == [line[1:] for line in PRINTED["A.6"][1:]]
    assert not any(row.top5 for row in A6.rows)


def test_the_architecture_is_the_networks(repo):
    rows = {row.layer: row for row in model_summary(load_cfg(str(repo / "configs/Mini_Kinetics/3DRESNET18.yaml"))).rows}
    _, _, conv, pool, *stages, _ = A1.printed
    kernels = [f"{conv[1].partition(', stride')[0]}; max {pool[1].partition(',')[0]}"]
    kernels += [layer for _, layer, _ in stages]
    sizes = [pool[2], *(size for *_, size in stages)]
    for index, (kernel, size) in enumerate(zip(kernels, sizes, strict=True), 1):
        assert rows[f"s{index}"].kernel == kernel and "x".join(map(str, rows[f"s{index}"].output[1:])) == size


def test_our_counts_are_what_the_networks_cost(repo):
    counted = {(row.config, table.counted_gflops) for table in TABLES.values() for row in table.rows}
    for config, gflops in counted:
        if not config.endswith("ATTENTION.yaml"):
            cost = model_summary(load_cfg(str(repo / "configs" / config))).gflops
            assert cost == pytest.approx(gflops, abs=0.005), config


def test_the_page_has_them(repo):
    text = (repo / "docs/reproducing.md").read_text(encoding="utf-8").partition("## What is published")[2]
    lines = [[cell.strip() for cell in line.split("|")] for line in text.partition("\n## ")[0].splitlines()]
    page = sorted((*cells[5:8], cells[8].split(" ")[0]) for cells in lines if cells[1:2] and cells[1].startswith("A."))
    ours = {(row.top1, row.top5, row.gflops, _maps(repo, row)) for table in TABLES.values() for row in table.rows}
    assert page == sorted(figures for figures in ours if figures[0])


def _maps(repo, row):
    cfg = load_cfg(str(repo / "configs" / row.config))
    return f"{implied_maps(cfg, row.gflops).mean:.1f}" if row.gflops and cfg.SGS.ENABLE else ""


def plain(cell):
    """A cell without the supplement's TeX and references."""
    for tex, text in ((r"\begin{bmatrix} ", "["), (r" \end{bmatrix}", "]"), (r"\times", "x"), ("\u0412", "B")):
        cell = cell.replace(tex, text)
    cell = re.sub(r" *\[\d+\]|\\operatorname|[${}_]", "", re.sub(r" *\\\\ *", "; ", cell))
    return re.sub(r"(?<=\d) x (?=\d)", "x", cell).replace(" ,", ",")


def printed_lines(path):
    return {
        tuple(map(plain, line.split("\t"))) for line in path.read_text(encoding="utf-8").splitlines() if "\t" in line
    }


def test_they_stand_in_the_supplement(repo):
    path = repo.parent / "shared" / "paper" / "supplement.md"
    if not path.is_file():
        pytest.skip("the supplement does not lie beside the checkout")
    lines, text = printed_lines(path), " ".join(path.read_text(encoding="utf-8").split())
    for key, rows in PRINTED.items():
        for row in rows:
            assert row in lines, (key, row)
    for row in A1.printed:
        assert (*row, "") in lines, row
    known = sum(map(len, PRINTED.values())) + len(A1.printed)
    assert len(lines) == known - 1  # A.3 and A.4 share the line of their columns
    assert "namely 256 instead of 208" in text
    assert "on UCF-101 and HMDB-51 are 22.2 and 23.1, respectively" in text
