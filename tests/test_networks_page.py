"""docs/networks.md has a row for each network of its command, and the command can be run."""

import importlib.util
import re
import sys

import pytest

from tests.packed.sweep import IDIOMS, lines
from tests.processes import Program


@pytest.fixture
def zoo(repo):
    spec = importlib.util.spec_from_file_location("zoo", repo / "docs/networks/zoo.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["zoo"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["zoo"]


def test_every_network_has_its_row_and_passes(repo, zoo):
    page = (repo / "docs/networks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([^|]+)` \| (\d+) x (\d+) \|(.+)$", page, re.MULTILINE)
    assert [row[:5] for row in rows] == [
        (net.name, net.library, net.after, str(net.clip[0]), str(net.clip[1])) for net in zoo.NETWORKS
    ]
    assert all("| pass |" in row[5] for row in rows)
    of_libraries = sum(net.library != "stand-in" for net in zoo.NETWORKS)
    assert f"{of_libraries} networks of torchvision" in (repo / "README.md").read_text(encoding="utf-8")
    assert f"runs {sum(len(lines(kind)) for kind in IDIOMS)} lines" in page


def test_the_command_prints_a_row(repo):
    run = Program(repo / "docs/networks/check.py", "mobilenet", cwd=repo)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert re.search(r"\| mobilenet \| stand-in \| `stem` \| 16 x 64 \| \de-\d\d, float32 \| .* \| pass \|", out)
