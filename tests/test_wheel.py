"""The wheel, installed in a new environment and used outside of the checkout, as a user has it.

The environment takes torch and the other dependencies from the one that runs the tests, so nothing is downloaded.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from slowfast_atfr import __version__
from slowfast_atfr.config import config_names
from slowfast_atfr.utils.stop import EXIT_STATUS
from tests.tiny_sets import small_pairs, write_clips

pytestmark = pytest.mark.slow
SOURCES = ("slowfast_atfr", "configs", "pyproject.toml", "setup.py", "README.md", "LICENSE")
CONFIG = "Demo/SLOWFAST_R18_ATFR"


def clean():
    """The environment, without a way to the checkout."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def done(command, folder, status=0):
    """What a command that ends with this status prints, stdout and stderr."""
    run = subprocess.run([str(word) for word in command], cwd=folder, env=clean(), capture_output=True, text=True)
    assert run.returncode == status, (command, run.stdout, run.stderr)
    return run.stdout, run.stderr


@pytest.fixture(scope="module")
def wheel(repo, tmp_path_factory):
    """Built from a copy, for building leaves files behind."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        copy = shutil.copytree if (repo / name).is_dir() else shutil.copyfile
        copy(repo / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir"]
    done([*build, source / "dist"], source)
    (path,) = (source / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory):
    """The folder of programs of an environment that has the wheel, and of everything else only what it requires."""
    place = tmp_path_factory.mktemp("environment")
    done([sys.executable, "-m", "venv", "--without-pip", place], place)
    python = place / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel]
    done(install, place)
    paths = sysconfig.get_paths()
    (own,) = (place / "lib").glob("python*/site-packages")
    (own / "dependencies.pth").write_text("".join(f"{paths[kind]}\n" for kind in ("purelib", "platlib")))
    return place / "bin"


@pytest.fixture
def python(programs, tmp_path):
    """python(code): what it prints, in an empty folder."""
    return lambda code: done([programs / "python", "-c", code], tmp_path)[0].strip()


@pytest.fixture
def command(programs, tmp_path):
    """command(*words): what slowfast-atfr prints, in an empty folder."""
    return lambda *words, status=0: done([programs / "slowfast-atfr", *words], tmp_path, status)


def test_it_has_every_module_and_every_config(python, repo):
    place = Path(python("import slowfast_atfr; print(slowfast_atfr.__path__[0])"))
    assert repo not in place.parents and "site-packages" in place.parts
    assert {path.relative_to(place) for path in place.rglob("*.py")} == {
        path.relative_to(repo / "slowfast_atfr") for path in (repo / "slowfast_atfr").rglob("*.py")
    }
    assert python("from slowfast_atfr.config import *; print(*config_names())").split() == config_names()
    for path in (repo / "configs").rglob("*.yaml"):
        assert (place / path.relative_to(repo)).read_bytes() == path.read_bytes()


def test_configs_are_found_by_name_and_networks_built(python):
    code = "from slowfast_atfr import load_cfg; print(load_cfg('SSv2/SLOWFAST_8x8_R50_ATFR').SGS.ENABLE)"
    assert python(code) == "True"
    code = (
        "import torch; from slowfast_atfr import create_model; model = create_model('Kinetics/X3D_S_ATFR', "
        "num_classes=10); print(*model.eval()([torch.randn(1, 3, 13, 160, 160)]).shape)"
    )
    assert python(code) == "1 10"


def test_the_command_answers(command):
    assert command("--version")[0] == f"slowfast-atfr {__version__}\n"
    assert "visualize" in command("--help")[0]
    error = command("train", "--cfg", "SSv2/SLOWFAST_8x8_R50_ATRF", status=1)[1]
    assert "did you mean SSv2/SLOWFAST_8x8_R50_ATFR" in error and "Traceback" not in error
    assert "Table A.1" in command("reproduce", "--gflops-only", "--tables", "A.1")[0]


def test_a_run_that_is_told_to_end_while_it_starts_ends_in_order(programs, tmp_path):
    """SIGTERM is held from before torch is imported until the run handles it."""
    process = subprocess.Popen([programs / "slowfast-atfr", "demo"], cwd=tmp_path, env=clean(), stderr=subprocess.PIPE)
    time.sleep(0.7)  # torch takes longer
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == EXIT_STATUS and b"start the demo again" in err, err


def test_a_users_day(command, tmp_path):
    """Prepare one's own videos, train the demo's config by name, test, predict, draw."""
    pytest.importorskip("matplotlib")
    write_clips(tmp_path / "mine", [(f"{label}/{n}.mp4", label) for label in range(3) for n in range(3)])
    command("prepare", "folder", "mine", "--val-share", "0.34", "--workers", "1")
    places = {"DATA__PATH_TO_DATA_DIR": "mine/prepared", "DATA__PATH_PREFIX": "mine"}
    sets = {"TRAIN__DATASET": "kinetics", "TEST__DATASET": "kinetics", "NUM_GPUS": 0}
    pairs = small_pairs(**places, **sets)
    log = command("train", "--cfg", CONFIG, *pairs, "OUTPUT_DIR", "out")[0]
    assert "test_final" in log and (tmp_path / "out/checkpoints/checkpoint_epoch_00001.pyth").is_file()
    log = command("test", "--cfg", CONFIG, *pairs, "OUTPUT_DIR", "again", "TEST.CHECKPOINT_FILE_PATH", "out")[0]
    assert "test_final" in log and "train_iter" not in log
    network = ["--cfg", CONFIG, "--checkpoint", "out", "--opts", *pairs]
    rows = json.loads(command("predict", "mine", "--format", "json", *network)[0])
    assert len(rows) == 9 and all(len(row["top"]) == 3 for row in rows)
    command("visualize", "mine/0/0.mp4", "--output", "seen", *network)
    assert (tmp_path / "seen.png").is_file() and (tmp_path / "seen.html").is_file()
