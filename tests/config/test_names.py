"""Configs by name: from any folder, files first, and near names where there is none."""

import pytest

from slowfast_atfr.config import ConfigError, config_names, configs_folder, load_cfg

NAME = "SSv2/SLOWFAST_8x8_R50_ATFR"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_checkout_has_its_own_folder_and_every_file_a_name(repo):
    assert configs_folder() == repo / "configs"
    files = {str(path.relative_to(repo / "configs")) for path in (repo / "configs").rglob("*.yaml")}
    assert {f"{name}.yaml" for name in config_names()} == files and NAME in config_names()


@pytest.mark.parametrize("name", [NAME, f"{NAME}.yaml"])
def test_a_name_is_the_file_with_its_base(repo, name):
    assert load_cfg(name).dump() == load_cfg(str(repo / "configs" / f"{NAME}.yaml")).dump()
    assert load_cfg(name, ["NUM_GPUS", "0"]).NUM_GPUS == 0


@pytest.mark.parametrize("name", [NAME, f"{NAME}.yaml"])
def test_a_file_wins_over_a_name(tmp_path, name):
    (tmp_path / "SSv2").mkdir()
    (tmp_path / name).write_text("SOLVER: {MAX_EPOCH: 7}\n")
    assert load_cfg(name).SOLVER.MAX_EPOCH == 7


def test_a_folder_does_not(tmp_path):
    """Such as the OUTPUT_DIR of a run that is called like its config."""
    (tmp_path / NAME).mkdir(parents=True)
    assert load_cfg(NAME).SGS.ENABLE


def test_a_file_of_ones_own_is_a_diff_of_a_name(tmp_path):
    (tmp_path / "mine.yaml").write_text(f"_BASE_: {NAME}\nMODEL: {{NUM_CLASSES: 5}}\n")
    cfg, base = load_cfg("mine.yaml"), load_cfg(NAME)
    assert cfg.MODEL.NUM_CLASSES == 5 and cfg.SGS == base.SGS and cfg.DATA == base.DATA


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("SSv2/SLOWFAST_8x8_R50_ATRF", [NAME]),
        ("ssv2/slowfast_8x8_r50_atfr", [NAME]),
        ("SLOWFAST_8x8_R50_ATFR", [NAME, "Kinetics/SLOWFAST_8x8_R50_ATFR"]),
        (f"configs/{NAME}.yaml", [NAME]),
        ("/nowhere/X3D_S.yaml", ["Kinetics/X3D_S", "Kinetics600/X3D_S", "Mini_Kinetics/X3D_S"]),
        ("zzz", ["Demo/", "Kinetics/", "SSv2/"]),
        ("/", ["Is a directory"]),
    ],
)
def test_what_is_neither_is_an_error_that_lists_near_names(text, near):
    with pytest.raises(ConfigError) as error:
        load_cfg(text)
    for word in (text, *near):
        assert word in str(error.value)


def test_a_missing_base_is_one_too(tmp_path):
    (tmp_path / "mine.yaml").write_text("_BASE_: Kinetics/X3D\n")
    with pytest.raises(ConfigError, match="the _BASE_ of .*mine.yaml.*did you mean Kinetics/X3D_"):
        load_cfg("mine.yaml")
