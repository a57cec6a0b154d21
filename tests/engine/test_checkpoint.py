import errno
import logging
import os
import random
from pathlib import Path

import pytest
import torch
from torch import nn, optim

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.engine import checkpoint, checkpoint_file
from slowfast_atfr.engine.checkpoint import (
    last_checkpoint,
    load_checkpoint,
    load_for_test,
    save_checkpoint,
    start_from,
)
from slowfast_atfr.engine.checkpoint_file import read_checkpoint
from slowfast_atfr.engine.checkpoint_import import load_weights
from slowfast_atfr.engine.run_state import RunState
from slowfast_atfr.utils import files
from tests.processes import run_in_processes


def make_cfg(output_dir, **train):
    cfg = get_cfg()
    cfg.OUTPUT_DIR, cfg.SOLVER.MAX_EPOCH = str(output_dir), 25
    cfg.TRAIN.CHECKPOINT_PERIOD, cfg.TRAIN.EVAL_PERIOD = 10, 4
    for key, value in train.items():
        assert key in cfg.TRAIN
        cfg.TRAIN[key] = value
    cfg.freeze()
    return cfg


@pytest.fixture
def cfg(tmp_path):
    return make_cfg(tmp_path)


def make_net(classes=2):
    return nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Flatten(), nn.Linear(4, classes))


def make_run(classes=2):
    net = make_net(classes)
    return net, optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def step(net, optimizer):
    """A step on random data: it depends on weights, momentum and the random state."""
    net(torch.randn(4, 3, 1, 1, 1)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def same(net, other):
    return all(map(torch.equal, net.state_dict().values(), other.state_dict().values()))


@pytest.fixture
def saved(cfg):
    """A run with a checkpoint after its first epoch, and the path of that."""
    net, optimizer = make_run()
    step(net, optimizer)
    return net, optimizer, save_checkpoint(cfg, net, optimizer, 0)


def test_the_file_has_pyslowfasts_name_and_keys(cfg, saved, tmp_path):
    net, _, path = saved
    assert path == str(tmp_path / "checkpoints" / "checkpoint_epoch_00001.pyth")
    content = torch.load(path, weights_only=True)
    assert set(content) == {"epoch", "model_state", "optimizer_state", "cfg", "rng_state", "clips"}
    assert content["epoch"] == 0 and list(content["model_state"]) == list(net.state_dict())
    assert get_cfg().load_cfg(content["cfg"]) == cfg
    assert os.listdir(tmp_path / "checkpoints") == ["checkpoint_epoch_00001.pyth"]


def test_a_resumed_run_goes_on_as_if_it_had_never_stopped(saved):
    net, optimizer, path = saved
    step(net, optimizer)
    draws = random.random(), torch.rand(())
    other, other_optimizer = make_run()
    assert load_checkpoint(path, other, other_optimizer) == 0
    step(other, other_optimizer)
    assert same(net, other) and (random.random(), torch.rand(())) == draws


def test_weights_alone_leave_the_random_state(saved):
    net, _, path = saved
    torch.manual_seed(9)
    expected = torch.rand(())
    other = make_net()
    torch.manual_seed(9)
    load_checkpoint(path, other)
    assert same(net, other) and torch.rand(()) == expected


def test_weights_saved_within_ddp_are_found(saved, tmp_path):
    net, _, _ = saved
    path = tmp_path / "ddp.pyth"
    torch.save({"model_state": {f"module.{name}": value for name, value in net.state_dict().items()}}, path)
    other = make_net()
    assert load_checkpoint(str(path), other) == -1  # the file has no epoch
    assert same(net, other)


def test_what_does_not_match_is_named(saved, caplog):
    net, _, path = saved
    other = make_net(classes=3)
    other.add_module("extra", nn.Linear(1, 1))
    before = other[3].weight.clone()
    with pytest.raises(ConfigError) as error:
        load_checkpoint(path, other)
    told = "6 of the model's 10 weights match, 2 are missing (extra.weight, extra.bias), 0 are unexpected, "
    assert told + "2 have another shape (3.weight: (2, 4), here (3, 4), 3.bias: (2,), here (3,))" in str(error.value)
    assert not torch.equal(other[0].weight, net[0].weight)  # refused: nothing has been taken
    caplog.set_level(logging.INFO, logger="slowfast_atfr")
    load_weights(read_checkpoint(path), other)
    assert told in caplog.text
    assert torch.equal(other[0].weight, net[0].weight) and torch.equal(other[3].weight, before)


def test_a_strict_load_leaves_nothing_over(saved):
    net, _, path = saved
    with pytest.raises(ConfigError, match=r"2 of the model's 2 weights match, 0 are missing, 6 are unexpected"):
        load_checkpoint(path, net[:1])


def test_weights_of_which_none_match_are_refused(saved):
    _, _, path = saved
    other = nn.Sequential()
    other.add_module("other", nn.Linear(1, 1))
    with pytest.raises(ConfigError, match=r"0 of the model's 2 weights match.* 8 are unexpected \((\S+, ){6}\.\.\.\)"):
        load_weights(read_checkpoint(path), other)


def test_an_optimizer_of_another_shape_is_told(saved):
    net, _, path = saved
    with pytest.raises(ConfigError, match="no optimizer state that fits this run.*TRAIN.CHECKPOINT_EPOCH_RESET"):
        load_checkpoint(path, net, optim.SGD(net[0].parameters(), lr=0.1))


def test_the_last_checkpoint_is_last_by_number(cfg, saved):
    net, optimizer, _ = saved
    for epoch in (8, 99_999, 19_999):
        save_checkpoint(cfg, net, optimizer, epoch)
    assert os.path.basename(last_checkpoint(cfg.OUTPUT_DIR).path) == "checkpoint_epoch_100000.pyth"


def test_a_damaged_checkpoint_is_passed_over(cfg, saved, caplog):
    net, optimizer, first = saved
    newest = save_checkpoint(cfg, net, optimizer, 1)
    with open(newest, "r+b") as file:
        file.truncate(os.path.getsize(newest) // 2)
    assert last_checkpoint(cfg.OUTPUT_DIR).path == first
    assert "passing over a damaged checkpoint" in caplog.text and newest in caplog.text


def test_nothing_but_damaged_checkpoints_do_not_start_a_run_anew(cfg, saved):
    _, _, path = saved
    Path(path).write_bytes(b"")
    with pytest.raises(ConfigError, match=r"none of the 1 checkpoint\(s\) in .* can be read"):
        last_checkpoint(cfg.OUTPUT_DIR)


def test_no_checkpoint_is_none(tmp_path):
    assert last_checkpoint(str(tmp_path / "nowhere")) is None


@pytest.mark.parametrize("clips", [0, 40])
@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_crash_while_writing_keeps_what_was_there(cfg, saved, monkeypatch, broken, clips):
    net, optimizer, path = saved
    if clips:  # within the next epoch
        path = save_checkpoint(cfg, net, optimizer, 0, make_state(clips=clips))
    kept = {entry: entry.read_bytes() for entry in Path(path).parent.iterdir()}
    content = kept[Path(path)]
    step(net, optimizer)

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, broken, fail)
        with pytest.raises(RuntimeError, match=r"cannot write the checkpoint .*\.pyth: No space left on device"):
            save_checkpoint(cfg, net, optimizer, 0, make_state(clips=clips))
        with pytest.raises(RuntimeError, match=r"cannot write the checkpoint"):
            save_checkpoint(cfg, net, optimizer, 0, make_state(clips=2 * clips))
    assert {entry: entry.read_bytes() for entry in Path(path).parent.iterdir()} == kept  # no litter
    save_checkpoint(cfg, net, optimizer, 0, make_state(clips=clips))
    assert Path(path).read_bytes() != content


def test_what_a_kill_leaves_behind_is_no_checkpoint(cfg, saved, monkeypatch):
    net, optimizer, path = saved

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint.os, "replace", die)
        patch.setattr(files, "_remove", lambda _: None)  # whoever is killed clears nothing away
        save_checkpoint(cfg, net, optimizer, 1)
    assert len(os.listdir(os.path.dirname(path))) == 2 and last_checkpoint(cfg.OUTPUT_DIR).path == path
    later = save_checkpoint(cfg, net, optimizer, 1)
    assert sorted(os.listdir(os.path.dirname(path))) == [os.path.basename(path), os.path.basename(later)]


class Counter:
    """Something with a state."""

    def __init__(self, value=0):
        self.value = value

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


def make_state(value=0, clips=0):
    return RunState({"scaler_state": Counter(value)}, {"sums": Counter(value + 1)}, clips)


def test_what_else_a_run_is_made_of_comes_back(cfg, saved):
    net, optimizer, _ = saved
    save_checkpoint(cfg, net, optimizer, 1, make_state(7, clips=12))
    state = make_state()
    assert start_from(cfg, *make_run(), state) == 2
    assert (state.parts["scaler_state"].value, state.rank_parts["sums"].value, state.clips) == (7, 8, 12)


def test_what_a_file_lacks_starts_anew_and_is_told(cfg, saved, caplog):
    state = make_state(3)
    assert start_from(cfg, *make_run(), state) == 1
    assert state.parts["scaler_state"].value == 3 and state.clips == 0
    assert "has no scaler_state, sums of this run" in caplog.text


def test_a_file_within_an_epoch_is_later_than_the_epoch_before_and_earlier_than_its_own(cfg, saved):
    net, optimizer, first = saved
    within = save_checkpoint(cfg, net, optimizer, 0, make_state(clips=40))
    assert os.path.basename(within) == "checkpoint_epoch_00002_clips_00000040.pyth"
    assert last_checkpoint(cfg.OUTPUT_DIR).path == within
    later = save_checkpoint(cfg, net, optimizer, 0, make_state(clips=80))
    assert not os.path.exists(within) and last_checkpoint(cfg.OUTPUT_DIR).path == later  # the older one is gone
    second = save_checkpoint(cfg, net, optimizer, 1)
    assert sorted(os.listdir(os.path.dirname(first))) == [os.path.basename(path) for path in (first, second)]
    assert last_checkpoint(cfg.OUTPUT_DIR).path == second


def test_a_damaged_file_within_an_epoch_falls_back_to_the_epoch_before(cfg, saved):
    net, optimizer, first = saved
    within = Path(save_checkpoint(cfg, net, optimizer, 0, make_state(clips=40)))
    within.write_bytes(within.read_bytes()[:-100])
    state = make_state()
    assert start_from(cfg, *make_run(), state) == 1 and state.clips == 0


def test_a_run_starts_anew_or_goes_on(cfg, saved, tmp_path):
    net, _, path = saved
    other, optimizer = make_run()
    assert start_from(cfg, other, optimizer) == 1 and same(net, other)
    assert start_from(make_cfg(tmp_path, AUTO_RESUME=False), *make_run()) == 0
    assert start_from(make_cfg(tmp_path / "empty"), *make_run()) == 0


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
        load_checkpoint(str(tmp_path / "file.pyth"), *make_run())


def test_a_given_file_that_leaves_nothing_to_train_is_told(cfg, saved, tmp_path):
    net, optimizer, _ = saved
    path = save_checkpoint(cfg, net, optimizer, 24)
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
    with pytest.raises(ConfigError, match=r"1 are missing \(1.running_var\).* A test takes every weight from the file"):
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


def _share(rank, folder):
    cfg = make_cfg(folder)
    torch.manual_seed(0)
    net, optimizer = make_run()
    torch.manual_seed(100 + rank)  # from here on every process draws its own
    path = save_checkpoint(cfg, nn.parallel.DistributedDataParallel(net), optimizer, 0)
    assert os.path.exists(path) and len(torch.load(path, weights_only=True)["rng_state"]) == 2
    expected = torch.rand(())
    other, other_optimizer = make_run()
    assert start_from(cfg, nn.parallel.DistributedDataParallel(other), other_optimizer) == 1
    assert same(net, other) and torch.rand(()) == expected

    os.makedirs(checkpoint.checkpoint_path(folder, 1), exist_ok=True)  # a folder stands where the file would go
    with pytest.raises(RuntimeError, match="cannot write the checkpoint"):  # on both, though one has written
        save_checkpoint(cfg, net, optimizer, 1)
    with pytest.raises(ConfigError, match="nothing to test"):
        load_for_test(make_cfg(folder + "/empty"), net)


def test_processes_keep_their_own_random_states(tmp_path, caplog):
    run_in_processes(_share, tmp_path, str(tmp_path))
    load_checkpoint(checkpoint.checkpoint_path(str(tmp_path), 0), *make_run())
    assert "was written by a run of 2 process(es), this one has 1: weights, optimizer and position carry" in caplog.text
