"""What a checkpoint holds, which one is the last, and what a crash while writing leaves."""

import errno
import logging
import os
import random
from pathlib import Path

import pytest
import torch
from torch import nn, optim

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.engine.checkpoint import save as checkpoint
from slowfast_atfr.engine.checkpoint.file import read_checkpoint
from slowfast_atfr.engine.checkpoint.load_weights import load_weights
from slowfast_atfr.engine.checkpoint.save import last_checkpoint, load_for_test, load_run_weights, save_checkpoint
from slowfast_atfr.engine.run_state import RunState
from slowfast_atfr.utils import files
from tests.engine.small_run import load_run, make_cfg, make_net, make_run, same, start_from, step
from tests.processes import run_in_processes


def test_the_file_has_pyslowfasts_name_and_keys(cfg, saved, tmp_path):
    net, _, path = saved
    assert path == str(tmp_path / "checkpoints" / "checkpoint_epoch_00001.pyth")
    content = torch.load(path, weights_only=True)
    assert set(content) == {"epoch", "model_state", "optimizer_state", "cfg", "rng_state", "clips", "unvalidated"}
    assert content["epoch"] == 0 and list(content["model_state"]) == list(net.state_dict())
    assert get_cfg().load_cfg(content["cfg"]) == cfg
    assert os.listdir(tmp_path / "checkpoints") == ["checkpoint_epoch_00001.pyth"]


def test_a_resumed_run_goes_on_as_if_it_had_never_stopped(saved):
    net, optimizer, path = saved
    step(net, optimizer)
    draws = random.random(), torch.rand(())
    other, other_optimizer = make_run()
    assert load_run(path, other, other_optimizer) == 0
    step(other, other_optimizer)
    assert same(net, other) and (random.random(), torch.rand(())) == draws


def test_weights_alone_leave_the_random_state(saved):
    net, _, path = saved
    torch.manual_seed(9)
    expected = torch.rand(())
    other = make_net()
    torch.manual_seed(9)
    load_run_weights(read_checkpoint(path), other)
    assert same(net, other) and torch.rand(()) == expected


def test_weights_saved_within_ddp_are_found(saved, tmp_path):
    net, _, _ = saved
    path = tmp_path / "ddp.pyth"
    torch.save({"model_state": {f"module.{name}": value for name, value in net.state_dict().items()}}, path)
    other = make_net()
    load_run_weights(read_checkpoint(str(path)), other)
    assert same(net, other)


def test_what_does_not_match_is_named(saved, caplog):
    net, _, path = saved
    other = make_net(classes=3)
    other.add_module("extra", nn.Linear(1, 1))
    before = other[3].weight.clone()
    with pytest.raises(ConfigError) as error:
        load_run_weights(read_checkpoint(path), other)
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
        load_run_weights(read_checkpoint(path), net[:1])


def test_weights_of_which_none_match_are_refused(saved):
    _, _, path = saved
    other = nn.Sequential()
    other.add_module("other", nn.Linear(1, 1))
    with pytest.raises(ConfigError, match=r"0 of the model's 2 weights match.* 8 are unexpected \((\S+, ){6}\.\.\.\)"):
        load_weights(read_checkpoint(path), other)


def test_an_optimizer_of_another_shape_is_told(saved):
    net, _, path = saved
    with pytest.raises(ConfigError, match="no optimizer state that fits this run.*TRAIN.CHECKPOINT_EPOCH_RESET"):
        load_run(path, net, optim.SGD(net[0].parameters(), lr=0.1))


def test_the_last_checkpoint_is_last_by_number(cfg, saved):
    net, optimizer, _ = saved
    for epoch in (8, 99_999, 19_999):
        save_checkpoint(cfg, net, optimizer, epoch, RunState())
    assert os.path.basename(last_checkpoint(cfg.OUTPUT_DIR).path) == "checkpoint_epoch_100000.pyth"


def test_a_damaged_checkpoint_is_passed_over(cfg, saved, caplog):
    net, optimizer, first = saved
    newest = save_checkpoint(cfg, net, optimizer, 1, RunState())
    with open(newest, "r+b") as file:
        file.truncate(os.path.getsize(newest) // 2)
    assert last_checkpoint(cfg.OUTPUT_DIR).path == first
    assert "skipping a damaged checkpoint" in caplog.text and newest in caplog.text


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
        save_checkpoint(cfg, net, optimizer, 1, RunState())
    assert len(os.listdir(os.path.dirname(path))) == 2 and last_checkpoint(cfg.OUTPUT_DIR).path == path
    later = save_checkpoint(cfg, net, optimizer, 1, RunState())
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
    assert "has no scaler_state, sums: this state is reset" in caplog.text


def test_a_file_within_an_epoch_is_later_than_the_epoch_before_and_earlier_than_its_own(cfg, saved):
    net, optimizer, first = saved
    within = save_checkpoint(cfg, net, optimizer, 0, make_state(clips=40))
    assert os.path.basename(within) == "checkpoint_epoch_00002_clips_00000040.pyth"
    assert last_checkpoint(cfg.OUTPUT_DIR).path == within
    later = save_checkpoint(cfg, net, optimizer, 0, make_state(clips=80))
    assert not os.path.exists(within) and last_checkpoint(cfg.OUTPUT_DIR).path == later  # the older one is gone
    second = save_checkpoint(cfg, net, optimizer, 1, RunState())
    assert sorted(os.listdir(os.path.dirname(first))) == [os.path.basename(path) for path in (first, second)]
    assert last_checkpoint(cfg.OUTPUT_DIR).path == second


def test_a_damaged_file_within_an_epoch_falls_back_to_the_epoch_before(cfg, saved):
    net, optimizer, first = saved
    within = Path(save_checkpoint(cfg, net, optimizer, 0, make_state(clips=40)))
    within.write_bytes(within.read_bytes()[:-100])
    state = make_state()
    assert start_from(cfg, *make_run(), state) == 1 and state.clips == 0


def _share(rank, folder):
    cfg = make_cfg(folder)
    torch.manual_seed(0)
    net, optimizer = make_run()
    torch.manual_seed(100 + rank)  # from here on every process draws its own
    path = save_checkpoint(cfg, nn.parallel.DistributedDataParallel(net), optimizer, 0, RunState())
    assert os.path.exists(path) and len(torch.load(path, weights_only=True)["rng_state"]) == 2
    expected = torch.rand(())
    other, other_optimizer = make_run()
    assert start_from(cfg, nn.parallel.DistributedDataParallel(other), other_optimizer) == 1
    assert same(net, other) and torch.rand(()) == expected

    os.makedirs(checkpoint.checkpoint_path(folder, 1), exist_ok=True)  # a folder stands where the file would go
    with pytest.raises(RuntimeError, match="cannot write the checkpoint"):  # on both, though one has written
        save_checkpoint(cfg, net, optimizer, 1, RunState())
    with pytest.raises(ConfigError, match="nothing to test"):
        load_for_test(make_cfg(folder + "/empty"), net)


def test_processes_keep_their_own_random_states(tmp_path, caplog):
    run_in_processes(_share, tmp_path, str(tmp_path))
    load_run(checkpoint.checkpoint_path(str(tmp_path), 0), *make_run())
    assert "was written by a run of 2 process(es), this one has 1: weights, optimizer and position carry" in caplog.text
