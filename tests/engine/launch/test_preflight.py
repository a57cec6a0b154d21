import os

import pytest

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.engine.launch.preflight import check_files
from slowfast_atfr.reproduce.reproduce_tables import main as reproduce_tables


@pytest.fixture
def check(tmp_path):
    def run(**keys):
        pairs = [text for key, value in keys.items() for text in (key.replace("__", "."), str(value))]
        check_files(load_cfg(None, ["OUTPUT_DIR", str(tmp_path / "out"), *pairs]))

    return run


@pytest.fixture
def checkpoint(tmp_path):
    """A run in OUTPUT_DIR with a checkpoint."""
    path = tmp_path / "out" / "checkpoints" / "checkpoint_epoch_00001.pyth"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_a_missing_file_is_reported_before_anything_is_done(check):
    with pytest.raises(ConfigError, match="TRAIN.CHECKPOINT_FILE_PATH is '/nowhere', and there is no such file"):
        check(TRAIN__CHECKPOINT_FILE_PATH="/nowhere")
    with pytest.raises(ConfigError, match="TEST.CHECKPOINT_FILE_PATH is '/nowhere', and there is no such file"):
        check(TEST__CHECKPOINT_FILE_PATH="/nowhere")  # not after weeks of training


def test_files_that_the_run_does_not_read_may_be_missing(check, checkpoint):
    check(TRAIN__CHECKPOINT_FILE_PATH="/nowhere")  # it resumes
    with pytest.raises(ConfigError, match="TRAIN.CHECKPOINT_FILE_PATH"):
        check(TRAIN__CHECKPOINT_FILE_PATH="/nowhere", TRAIN__AUTO_RESUME=False)
    check(TRAIN__ENABLE=False, TRAIN__CHECKPOINT_FILE_PATH="/nowhere", TRAIN__AUTO_RESUME=False)
    check(TEST__ENABLE=False, TEST__CHECKPOINT_FILE_PATH="/nowhere")
    later = checkpoint.with_name("checkpoint_epoch_00020.pyth")
    check(TEST__CHECKPOINT_FILE_PATH=later)  # its training writes it: CHECKPOINT_PERIOD is 10
    check(TEST__CHECKPOINT_FILE_PATH=checkpoint)
    for path, more in (
        (later.with_name("checkpoint_epoch_00019.pyth"), {}),
        (checkpoint, {"TRAIN__AUTO_RESUME": False}),
    ):
        with pytest.raises(ConfigError, match="TEST.CHECKPOINT_FILE_PATH"):  # never written; moved aside
            check(TEST__CHECKPOINT_FILE_PATH=path, **more)
    with pytest.raises(ConfigError, match="TEST.CHECKPOINT_FILE_PATH"):
        check(TEST__CHECKPOINT_FILE_PATH=later, TRAIN__ENABLE=False)
    check(TEST__CHECKPOINT_FILE_PATH=checkpoint.parents[1], TRAIN__ENABLE=False)


def test_a_folder_that_tensorboard_cannot_write_is_refused(check):
    odd = os.fsdecode(b"caf\xe9")
    check(OUTPUT_DIR=odd)
    with pytest.raises(ConfigError, match="TensorBoard only writes to folders with names in UTF-8"):
        check(OUTPUT_DIR=odd, TENSORBOARD__ENABLE=True)


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--out", "FILE"], "is a file; name a folder"),
        (["--out", "FILE/below"], "which is a file"),
        (["--data", "FILE"], "there is no folder"),
        (["--checkpoint", "3DResNet-18 + ATFR, B = T", "/nowhere"], "there is no such file or folder"),
    ],
)
def test_the_tables_command_line_names_its_own_mistakes(repo, tmp_path, capsys, arguments, told):
    (tmp_path / "FILE").touch()
    arguments = [text.replace("FILE", str(tmp_path / "FILE")) for text in arguments]
    with pytest.raises(SystemExit) as ended:
        reproduce_tables(repo / "configs", arguments)
    assert ended.value.code == 2 and told in capsys.readouterr().err
