"""Where a run starts: anew, from its own checkpoint, from a given file; and which weights a test takes."""

import logging
import os
from pathlib import Path

import pytest
import torch

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.engine.checkpoint import file as checkpoint_file
from slowfast_atfr.engine.checkpoint.file import read_checkpoint
from slowfast_atfr.engine.checkpoint.save import load_for_test, save_checkpoint
from slowfast_atfr.engine.run_state import RunState
from tests.engine.small_run import load_run, make_cfg, make_net, make_run, same, start_from


def test_a_run_starts_anew_or_goes_on(cfg, saved, tmp_path):
    net, _, path = saved
    other, optimizer = make_run()
    assert start_from(cfg, other, optimizer) == 1 and same(net, other)
    assert start_from(make_cfg(tmp_path, AUTO_RESUME=False), *make_run()) == 0
    assert start_from(make_cfg(tmp_path / "empty"), *make_run()) == 0


def test_a_run_that_goes_on_with_another_config_is_told(cfg, saved, tmp_path, caplog):
    other = cfg.clone()
    other.defrost()
    other.OUTPUT_DIR, other.LOG_PERIOD, other.TEST.BATCH_SIZE = str(tmp_path) + "/", 3, 5
    assert start_from(other, *make_run()) == 1 and "another config" not in caplog.text
    other.SGS.ORDER, other.SOLVER.MAX_EPOCH = "time", 40
    assert start_from(other, *make_run()) == 1
    assert "a different config: SOLVER.MAX_EPOCH was 25 and is 40, SGS.ORDER was 'bin' and is 'time'" in caplog.text


@pytest.mark.parametrize("text", ["{", "!!python/tuple [1]", "5", 5, None, {"SGS": 1}, "SGS: 1", ""])
def test_a_config_that_cannot_be_read_is_none(cfg, saved, tmp_path, text):
    _, _, path = saved
    torch.save(torch.load(path, weights_only=True) | {"cfg": text}, tmp_path / "file.pyth")
    assert read_checkpoint(str(tmp_path / "file.pyth")).changes(cfg) == {}


def test_a_run_starts_from_a_given_file(saved, tmp_path):
    net, _, path = saved
    empty = tmp_path / "empty"
    other, optimizer = make_run()
    assert start_from(make_cfg(empty, CHECKPOINT_FILE_PATH=path), other, optimizer) == 1
    assert same(net, other) and optimizer.state
    other, optimizer = make_run(classes=5)
    reset = make_cfg(empty, CHECKPOINT_FILE_PATH=path, CHECKPOINT_EPOCH_RESET=True)
    assert start_from(reset, other, optimizer) == 0
    assert torch.equal(other[0].weight, net[0].weight) and not optimizer.state


def test_a_run_that_forgets_the_file_to_start_from_is_told(tmp_path, caplog):
    start_from(make_cfg(tmp_path, CHECKPOINT_EPOCH_RESET=True, CHECKPOINT_INFLATE=True), *make_run())
    told = "TRAIN.CHECKPOINT_EPOCH_RESET and CHECKPOINT_INFLATE is True, but TRAIN.CHECKPOINT_FILE_PATH is empty"
    assert told in caplog.text
    caplog.clear()
    start_from(make_cfg(tmp_path), *make_run())
    assert not caplog.text


@pytest.mark.parametrize("state", [None, [1], "text", {"state": {}, "param_groups": 5}])
def test_what_is_no_optimizer_state_is_told(saved, tmp_path, state):
    net, _, path = saved
    torch.save(torch.load(path, weights_only=True) | {"optimizer_state": state}, tmp_path / "file.pyth")
    with pytest.raises(ConfigError, match="has no optimizer state that fits this run"):
        load_run(str(tmp_path / "file.pyth"), *make_run())


def test_a_given_file_that_leaves_nothing_to_train_is_told(cfg, saved, tmp_path):
    net, optimizer, _ = saved
    path = save_checkpoint(cfg, net, optimizer, 24, RunState())
    with pytest.raises(ConfigError, match="saved after 25 epochs, and the run has 25 .*: nothing is left to train"):
        start_from(make_cfg(tmp_path / "empty", CHECKPOINT_FILE_PATH=path), net, optimizer)
    assert start_from(cfg, net, optimizer) == 25  # a finished run that is started again has nothing to do


def test_a_start_reads_the_file_once(cfg, saved, tmp_path, monkeypatch):
    _, _, path = saved
    opened, load = [], torch.load
    monkeypatch.setattr(
        checkpoint_file.torch, "load", lambda path, **options: opened.append(path) or load(path, **options)
    )
    start_from(cfg, *make_run())
    start_from(make_cfg(tmp_path / "empty", CHECKPOINT_FILE_PATH=path), *make_run())
    load_for_test(cfg, make_net())
    assert opened == [path] * 3


def test_weights_of_no_run_start_at_epoch_0(saved, tmp_path):
    net, _, path = saved
    bare = tmp_path / "bare.pth"
    torch.save(net.state_dict(), bare)
    other, optimizer = make_run()
    assert start_from(make_cfg(tmp_path / "empty", CHECKPOINT_FILE_PATH=str(bare)), other, optimizer) == 0
    assert same(net, other) and not optimizer.state
    other, optimizer = make_run()
    inflated = make_cfg(tmp_path / "empty", CHECKPOINT_FILE_PATH=path, CHECKPOINT_INFLATE=True)
    assert start_from(inflated, other, optimizer) == 0
    assert same(net, other) and not optimizer.state


def test_names_are_cleared_where_the_file_is_a_given_one(saved, tmp_path):
    net, optimizer, path = saved
    content = torch.load(path, weights_only=True)
    content["model_state"] = {f"backbone.{name}": value for name, value in content["model_state"].items()}
    torch.save(content, tmp_path / "prefixed.pyth")
    keys = {"CHECKPOINT_FILE_PATH": str(tmp_path / "prefixed.pyth"), "CHECKPOINT_CLEAR_NAME_PATTERN": ["backbone."]}
    cleared = make_cfg(tmp_path / "empty", **keys)
    other, other_optimizer = make_run()
    assert start_from(cleared, other, other_optimizer) == 1 and same(net, other) and other_optimizer.state
    other = make_net()
    assert load_for_test(cleared, other) == keys["CHECKPOINT_FILE_PATH"] and same(net, other)


def test_a_test_takes_all_weights_from_the_file(saved, tmp_path):
    net, _, _ = saved
    state = net.state_dict()
    torch.save({name: value for name, value in state.items() if name != "1.running_var"}, tmp_path / "part.pth")
    cfg = get_cfg()
    cfg.OUTPUT_DIR, cfg.TEST.CHECKPOINT_FILE_PATH = str(tmp_path / "empty"), str(tmp_path / "part.pth")
    with pytest.raises(ConfigError, match=r"1 are missing \(1.running_var\).* A test needs every weight from the file"):
        load_for_test(cfg, make_net())
    cfg.TEST.CHECKPOINT_FILE_PATH = str(tmp_path / "gone.pth")
    with pytest.raises(ConfigError, match="TEST.CHECKPOINT_FILE_PATH is '.*gone.pth', and there is no such file"):
        load_for_test(cfg, make_net())


def test_what_is_tested(cfg, saved, tmp_path):
    net, _, path = saved
    other = make_net()
    assert load_for_test(cfg, other) == path and same(net, other)
    empty = make_cfg(tmp_path / "empty", CHECKPOINT_FILE_PATH=path)
    assert load_for_test(empty, make_net()) == path
    with pytest.raises(ConfigError, match="nothing to test: TEST.CHECKPOINT_FILE_PATH is empty"):
        load_for_test(make_cfg(tmp_path / "empty"), make_net())


def test_the_folder_of_a_run_stands_for_its_newest_checkpoint(cfg, saved, tmp_path):
    (tmp_path / "none").mkdir()
    of_run, of_none = (make_cfg(tmp_path / "empty").clone() for _ in range(2))
    for own, folder in ((of_run, cfg.OUTPUT_DIR), (of_none, tmp_path / "none")):
        own.defrost()
        own.TEST.CHECKPOINT_FILE_PATH = str(folder)
    assert load_for_test(of_run, make_net()) == saved[2]
    with pytest.raises(
        ConfigError, match="TEST.CHECKPOINT_FILE_PATH is the folder '.*none', which holds no checkpoint"
    ):
        load_for_test(of_none, make_net())


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_run_that_does_not_resume_moves_the_checkpoints_of_another_aside(cfg, saved, tmp_path, caplog):
    net, optimizer, path = saved
    content = Path(path).read_bytes()
    save_checkpoint(cfg, net, optimizer, 3, RunState())
    anew = make_cfg(tmp_path, AUTO_RESUME=False)
    assert start_from(anew, *make_run()) == 0
    old = tmp_path / "checkpoints_old"
    assert names(tmp_path / "checkpoints") == [] and len(names(old)) == 2
    assert (old / os.path.basename(path)).read_bytes() == content  # nothing is lost
    assert f"2 checkpoint(s) of an earlier run are moved to {old}" in caplog.text
    own = save_checkpoint(anew, *make_run(), 0, RunState())
    assert load_for_test(anew, make_net()) == own
    assert start_from(cfg, *make_run()) == 1  # what is resumed later is the newer run
    assert start_from(anew, *make_run()) == 0 and names(tmp_path / "checkpoints_old_2") == [
        "checkpoint_epoch_00001.pyth"
    ]


def test_a_run_that_goes_back_keeps_its_own_past(cfg, saved, tmp_path):
    net, optimizer, first = saved
    paths = [first, *(save_checkpoint(cfg, net, optimizer, epoch, RunState()) for epoch in (1, 2, 3))]
    back = make_cfg(tmp_path, AUTO_RESUME=False, CHECKPOINT_FILE_PATH=paths[1])
    for _ in range(2):  # a job that is started again by the same command finds the same
        assert start_from(back, *make_run()) == 2
        assert names(tmp_path / "checkpoints") == ["checkpoint_epoch_00001.pyth", "checkpoint_epoch_00002.pyth"]
    reset = make_cfg(tmp_path, AUTO_RESUME=False, CHECKPOINT_FILE_PATH=paths[1], CHECKPOINT_EPOCH_RESET=True)
    with pytest.raises(ConfigError, match="one of the checkpoints in OUTPUT_DIR that this run.* would write over"):
        start_from(reset, *make_run())
    elsewhere = make_cfg(tmp_path / "other", CHECKPOINT_FILE_PATH=paths[1], CHECKPOINT_EPOCH_RESET=True)
    assert start_from(elsewhere, *make_run()) == 0


def test_the_average_that_a_test_takes_is_reported_and_so_is_its_lack(cfg, saved, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="slowfast_atfr")
    averaged = cfg.clone()
    averaged.defrost()
    averaged.SOLVER.EMA_DECAY = 0.9
    load_for_test(averaged, make_net())
    assert "has no average of weights (SOLVER.EMA_DECAY), so its last weights are tested" in caplog.text
