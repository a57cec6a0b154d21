"""The pages' examples run and print what they say, and what the pages name exists."""

import doctest
import os
import pkgutil
import re
import shlex
import subprocess
import sys

import pytest

from slowfast_atfr.analysis import model_summary
from slowfast_atfr.command import COMMANDS
from slowfast_atfr.config import config_names, load_cfg
from slowfast_atfr.datasets import DATASET_REGISTRY, build_dataset
from slowfast_atfr.engine.cli import parse_args
from slowfast_atfr.models import MODEL_REGISTRY
from slowfast_atfr.prepare.cli import main as prepare_data
from slowfast_atfr.prepare.recipes import RECIPES
from slowfast_atfr.sgs import KERNEL_REGISTRY, SIMILARITY_REGISTRY
from tests.conftest import REPO
from tests.tiny_sets import write_clips, write_hmdb51, write_kinetics, write_ssv2, write_ucf101

PAGES = ["docs/sgs.md", "docs/architecture.md"]
REGISTRIES = (DATASET_REGISTRY, KERNEL_REGISTRY, MODEL_REGISTRY, SIMILARITY_REGISTRY)
ALL_PAGES = sorted([*REPO.glob("*.md"), *REPO.glob("docs/*.md")])
ROOMS = "|".join(path.parent.name for path in REPO.glob("slowfast_atfr/*/__init__.py"))


@pytest.mark.parametrize("page", PAGES)
def test_examples_print_what_the_page_says(repo, page, monkeypatch):
    for registry in REGISTRIES:  # a page's entries are removed after the test
        monkeypatch.setattr(registry, "_obj_map", dict(registry._obj_map))
    found = doctest.testfile(str(repo / page), module_relative=False)
    assert found.attempted > 5 and found.failed == 0


def test_the_table_of_layers_is_what_the_function_prints(repo):
    cfg = load_cfg(str(repo / "configs/Mini_Kinetics/3DRESNET18_ATFR.yaml"))
    table = str(model_summary(cfg, active=[16]))
    assert f"```\n{table}\n```" in (repo / "docs/getting_started.md").read_text(encoding="utf-8")


@pytest.fixture
def downloads(tmp_path, monkeypatch, repo):
    """Tiny versions of the data sets that the page names, in the working folder."""
    for name in ("k400", "k600", "k700-2020"):
        write_kinetics(tmp_path / name)
    ids = tmp_path / "Mini-Kinetics-200"
    ids.mkdir()
    for part in ("train", "val"):
        (ids / f"{part}_ytid_list.txt").write_text("".join(f"-{label}_{part[:2]}00000_\n" for label in range(3)))
    write_ssv2(tmp_path / "something")
    write_ucf101(tmp_path / "ucf")
    write_hmdb51(tmp_path / "hmdb")
    write_clips(tmp_path / "my_videos", [(f"{label}/{n}.mp4", label) for label in range(3) for n in range(2)])
    (tmp_path / "configs").symlink_to(repo / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_commands_for_data_sets_can_be_run(downloads, repo):
    page = (repo / "docs" / "datasets.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    commands = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    ran = set()
    for command in commands:
        program, script, *argv = shlex.split(command)
        if script == "tools/prepare_data.py":
            assert prepare_data(argv) == 0, command
            ran.add(argv[0])
        elif script in ("tools/run_net.py", "tools/run_splits.py"):
            args, pairs = parse_args(argv, prog=script, description="")
            cfg = load_cfg(args.cfg_file, [*pairs, "MODEL.NUM_CLASSES", "3"])
            for split in ("train", "val", "test"):
                data = build_dataset(cfg.TRAIN.DATASET, cfg, split)
                assert all(os.path.exists(data.path(index)) for index in range(len(data))), command
        else:
            assert program == "python" and script == "-c", command
            subprocess.run(command.replace("python", shlex.quote(sys.executable), 1), shell=True, check=True)
    assert ran == set(RECIPES)


def test_the_readme_lists_all_pages_and_each_ends_with_the_next(repo):
    readme = (repo / "README.md").read_text(encoding="utf-8")
    order = re.findall(r"^\| \[[^]]+\]\(docs/(\w+)\.md\) \|", readme, re.MULTILINE)
    assert set(order) == {page.stem for page in repo.glob("docs/*.md")}
    for page, following in zip(order, order[1:], strict=False):
        last = (repo / f"docs/{page}.md").read_text(encoding="utf-8").splitlines()[-1]
        assert last.startswith("Next: [") and f"({following}.md)" in last


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_links_files_and_names_of_a_page_exist(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists() and (not anchor or anchor in anchors(target)), link
    for path in re.findall(r"(?<![\w/.-])(?:configs|docs|slowfast_atfr|tests|tools)/[\w/.-]*\.\w+", text):
        assert (REPO / path).exists(), path
    if page.name == "CHANGELOG.md":  # old names of moved modules do not exist
        text = re.sub(r"^\| `[\w.]+` \|", "", text, flags=re.MULTILINE)
    names = re.findall(rf"(?<![\w./-])(?:slowfast_atfr|{ROOMS})(?:\.(?!md\b|yaml\b)[A-Za-z]\w*)+", text)
    for name in names:
        pkgutil.resolve_name(f"slowfast_atfr.{name.removeprefix('slowfast_atfr.')}")


@pytest.mark.parametrize("page", ["README.md", "docs/getting_started.md"])
def test_commands_and_configs_that_a_page_names_are_there(repo, page):
    text = (repo / page).read_text(encoding="utf-8")
    named = set(re.findall(r"slowfast-atfr ([a-z]\w+)", text))
    assert named and named <= set(COMMANDS)
    used = {name for name in re.findall(r"(?:--cfg |create_model\(\")([\w./]+)", text) if name != "config.yaml"}
    names = {name.removeprefix("configs/").removesuffix(".yaml") for name in used} - {"..."}
    assert names and names <= set(config_names())


def test_the_counts_on_the_page_are_those_that_the_command_prints(repo):
    page = (repo / "docs" / "datasets.md").read_text(encoding="utf-8")
    for recipe in RECIPES.values():
        for count in (recipe.num_classes, *recipe.counts.values()):
            assert count is None or re.search(rf"(?<![\d,]){count:,}(?![\d])", page), f"{recipe.title}: {count}"
