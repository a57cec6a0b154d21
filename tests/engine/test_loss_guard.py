import pytest
import torch

from slowfast_atfr.engine.loss_guard import LossGuard, agree
from tests.processes import run_in_processes


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_told_with_the_last_good_step(bad):
    guard = LossGuard(0.0)
    assert "there was no step before it" in guard.problem(bad, "iteration 1 of epoch 1")
    assert guard.problem(2.5, "iteration 1 of epoch 1") is None
    told = guard.problem(bad, "iteration 2 of epoch 1")
    assert f"the loss is {bad} in iteration 2 of epoch 1" in told
    assert "the last good step was iteration 1 of epoch 1, with a loss of 2.5" in told


def test_a_sudden_rise_is_told_and_a_slow_one_is_none():
    guard = LossGuard(3.0)
    assert not any(guard.problem(loss, "here") for loss in (1.0, 2.0, 100.0))  # five come first
    guard = LossGuard(3.0)
    for loss in (1.0, 1.0, 2.0, 2.0, 4.0):
        assert guard.problem(loss, "here") is None
    assert guard.problem(6.0, "here") is None  # the mean is 2
    told = guard.problem(9.1, "there")  # and now 3
    assert "the loss is 9.1 in there" in told and "TRAIN.KILL_LOSS_EXPLOSION_FACTOR (3)" in told and "times 3," in told
    assert not any(LossGuard(0.0).problem(loss, "here") for loss in (1.0,) * 5 + (1e9,))


def test_it_goes_on_after_a_resume():
    guard, other = LossGuard(2.0), LossGuard(2.0)
    for loss in (1.0,) * 5:
        guard.problem(loss, "here")
    other.load_state_dict(guard.state_dict())
    assert other.problem(2.1, "there") == guard.problem(2.1, "there") != None  # noqa: E711


def test_one_process_agrees_with_itself():
    assert agree(torch.tensor(2.0), False) == (2.0, False)
    assert agree(torch.tensor(2.0), True) == (2.0, True)


def _all_agree(rank):
    assert agree(torch.tensor(1.0 + rank), rank == 1) == (1.5, True)
    assert agree(torch.tensor(1.0), False) == (1.0, False)
    mean, _ = agree(torch.tensor(float("nan") if rank else 1.0), False)
    assert mean != mean


def test_processes_agree(tmp_path):
    run_in_processes(_all_agree, tmp_path)
