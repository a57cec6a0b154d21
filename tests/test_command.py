"""The command slowfast-atfr: its help, what it starts, and that tools/*.py start the same."""

import os
import re
import subprocess
import sys

import pytest

from slowfast_atfr import __version__, command
from slowfast_atfr.command import COMMANDS, main
from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.engine import cli


@pytest.fixture
def held(monkeypatch):
    """A list that receives an entry where SIGTERM would be held, which here would last."""
    calls = []
    monkeypatch.setattr(command, "hold_sigterm", lambda: calls.append(None))
    return calls


def ended(argv, capsys):
    """Exit status and what was printed, by a command line that argparse ends."""
    with pytest.raises(SystemExit) as end:
        main(argv)
    out, err = capsys.readouterr()
    return end.value.code, out + err


def test_help_explains_each_command_in_a_line(capsys):
    status, text = ended(["--help"], capsys)
    assert status == 0 and max(map(len, text.splitlines())) <= 120
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.help)}$", text, re.MULTILINE)


def test_the_version_is_the_packages(capsys):
    assert ended(["--version"], capsys) == (0, f"slowfast-atfr {__version__}\n")


def test_no_command_and_a_wrong_one_are_told_with_the_choices(capsys):
    status, text = ended(["trian", "--cfg", "x"], capsys)
    assert status == 2 and all(word in text for word in ("'trian'", *COMMANDS))
    assert ended([], capsys)[0] == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_own_help(name, capsys, held):
    status, text = ended([name, "--help"], capsys)
    assert status == 0 and text.startswith(f"usage: slowfast-atfr {name} ") and ".py" not in text.partition("\n\n")[0]
    assert len(held) == COMMANDS[name].is_run


@pytest.mark.parametrize("name", COMMANDS)
def test_the_tool_that_it_names_starts_the_same(name, repo):
    tool = re.search(r"tools/\w+\.py", COMMANDS[name].help)
    assert tool or name == "test"
    if tool:
        text = (repo / tool[0]).read_text(encoding="utf-8")
        assert f"from slowfast_atfr.{COMMANDS[name].module} import {COMMANDS[name].function}" in text
        assert ("hold_sigterm()" in text) == COMMANDS[name].is_run


@pytest.fixture
def launched(monkeypatch):
    """A list that receives the configs of runs, which are not run."""
    cfgs = []
    monkeypatch.setattr(cli, "launch", lambda fn, cfg, init_method: cfgs.append(cfg))
    return cfgs


def test_train_and_test_take_a_name_and_pairs_and_test_never_trains(held, launched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--cfg", "SSv2/SLOWFAST_8x8_R50_ATFR", "NUM_GPUS", "0", "TRAIN.ENABLE", "True", "TEST.ENABLE", "False"]
    assert main(["train", *given]) == 0 == main(["test", *given])
    assert [(cfg.TRAIN.ENABLE, cfg.TEST.ENABLE) for cfg in launched] == [(True, False), (False, True)]
    assert launched[0].SGS.ENABLE and launched[0].NUM_GPUS == 0


def test_an_unknown_name_ends_with_one_line(held, capsys):
    assert main(["train", "--cfg", "SSv2/SLOWFAST"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith("error: ") and "did you mean SSv2/SLOWFAST_8x8_R50" in err
    with pytest.raises(ConfigError):
        load_cfg("SSv2/SLOWFAST")


def test_help_loads_no_torch_and_the_module_can_be_run(tmp_path, repo):
    environment = {**os.environ, "PYTHONPATH": str(repo)}
    options = {"cwd": tmp_path, "env": environment, "check": True, "capture_output": True, "text": True}
    code = "import sys; from slowfast_atfr.command import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], **options).stdout.split()
    assert "slowfast_atfr.command" in loaded and "torch" not in loaded
    shown = subprocess.run([sys.executable, "-m", "slowfast_atfr", "--version"], **options).stdout
    assert shown == f"slowfast-atfr {__version__}\n"


def test_a_config_is_printed_whole_and_nothing_runs(tmp_path, monkeypatch, capsys, held):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "launch", None)
    name, pairs = "SSv2/SLOWFAST_8x8_R50_ATFR", ["NUM_GPUS", "0"]
    assert main(["train", "--cfg", name, "--print-cfg", *pairs]) == 0
    out, err = capsys.readouterr()
    assert out == load_cfg(name, pairs).dump() and not err
    (tmp_path / "again.yaml").write_text(out)
    assert load_cfg("again.yaml").dump() == out
    assert [path.name for path in tmp_path.iterdir()] == ["again.yaml"]
