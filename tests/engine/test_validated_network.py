"""The network that a run validates, saves and tests is the one that its config names, however the run began."""

import copy
import shutil
from functools import partial

import pytest
import torch

from slowfast_atfr.datasets.loader import build_loader
from slowfast_atfr.engine import train as train_module
from slowfast_atfr.engine.checkpoint.save import checkpoint_path
from slowfast_atfr.engine.run import build_for_test, to_inputs
from slowfast_atfr.engine.step import GradientSteps
from slowfast_atfr.engine.train import train
from slowfast_atfr.models import video_resnet
from slowfast_atfr.models.compiled import CompiledStages
from slowfast_atfr.utils.distributed import RankInfo
from tests.processes import run_in_processes
from tests.runs import ONE_PATHWAY

PLAIN = {"BN__USE_PRECISE_STATS": False, "SOLVER__MAX_EPOCH": 1, "MODEL__DROPOUT_RATE": 0.0, "SOLVER__BASE_LR": 0.01}
PLAIN |= ONE_PATHWAY
DECAY = 0.75


def copied(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


class Seen:
    """States of a run's network: as it starts, after every step, and as it is validated."""

    def __init__(self, patch):
        self.steps, self.validated = [], []
        build, take, evaluate = train_module.build_run, GradientSteps.backward_and_step, train_module.eval_epoch

        def build_run(*args):
            run, start = build(*args)
            self.steps.append(copied(run.network))
            return run, start

        def take_step(steps, *args):
            stepped = take(steps, *args)
            model = getattr(steps._model, "module", steps._model)
            self.steps.append(copied(model))
            return stepped

        def eval_epoch(run, *args):
            def note(module, _):
                self.validated.append(copied(module))

            with run.network.register_forward_pre_hook(note):
                evaluate(run, *args)

        patch.setattr(train_module, "build_run", build_run)
        patch.setattr(train_module, "eval_epoch", eval_epoch)
        patch.setattr(GradientSteps, "backward_and_step", take_step)

    def average(self, start):
        """What the average of weights comes to, from a state and the states after all steps."""
        average = copy.deepcopy(start)
        for state in self.steps[1:]:
            for name, value in average.items():
                if value.is_floating_point():
                    value.lerp_(state[name], 1 - DECAY)
                else:
                    value.copy_(state[name])
        return average


def assert_states_equal(one, other, **tolerance):
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


def load(folder, epoch=0):
    return torch.load(checkpoint_path(str(folder), epoch), weights_only=True)


@pytest.fixture(scope="module")
def first_runs(tmp_path_factory):
    return tmp_path_factory.mktemp("first_runs")


@pytest.fixture
def first_run(tiny_cfg, tmp_path, first_runs):
    """The folder of a run of an epoch without an average of weights, and one with it: a copy of the one that ran."""

    def run(ema):
        folder = first_runs / str(ema)
        if not folder.exists():
            train(tiny_cfg(OUTPUT_DIR=folder, **PLAIN, SOLVER__EMA_DECAY=DECAY if ema else 0.0, RNG_SEED=5), RankInfo())
        return shutil.copytree(folder, tmp_path / "first")

    return run


BEGINS = ["random", "reset", "resumed", "switched on at a resume"]
QUICK = {("random", False), ("reset", True), ("resumed", True), ("switched on at a resume", True)}


@pytest.mark.parametrize(
    ("begin", "ema"),
    [
        pytest.param(begin, ema, id=f"{begin}-{name}", marks=[] if (begin, ema) in QUICK else pytest.mark.slow)
        for begin in BEGINS
        for name, ema in (("weights", False), ("average", True))
    ],
)
def test_one_process_validates_what_its_config_names(tiny_cfg, tmp_path, monkeypatch, first_run, begin, ema):
    keys, folder, start = {**PLAIN, "SOLVER__EMA_DECAY": DECAY if ema else 0.0}, tmp_path / "second", None
    if begin != "random":
        folder = first_run(ema and begin == "resumed")
        file = load(folder)
        start = file["ema_state"] if ema and begin == "resumed" else file["model_state"]
        if begin == "reset":
            keys |= {
                "TRAIN__CHECKPOINT_FILE_PATH": checkpoint_path(str(folder), 0),
                "TRAIN__CHECKPOINT_EPOCH_RESET": True,
            }
            folder = tmp_path / "second"
        else:
            keys["SOLVER__MAX_EPOCH"] = 2
    cfg, seen = tiny_cfg(OUTPUT_DIR=folder, **keys), Seen(monkeypatch)
    train(cfg, RankInfo())
    saved = load(folder, cfg.SOLVER.MAX_EPOCH - 1)
    if begin != "random":
        assert_states_equal(file["model_state"], seen.steps[0], rtol=0, atol=0)
    expected = seen.average(start or seen.steps[0]) if ema else seen.steps[-1]
    assert len(seen.steps) == 4 and seen.validated
    for state in seen.validated:
        assert_states_equal(expected, state)
    assert_states_equal(seen.validated[-1], saved["ema_state" if ema else "model_state"], rtol=0, atol=0)
    batch = next(iter(build_loader(cfg, "val", RankInfo())))
    scores = {}
    for folded in (False, True):
        network, _ = build_for_test(tiny_cfg(OUTPUT_DIR=folder, **keys, TEST__FOLD_NORMS=folded), RankInfo())
        with torch.inference_mode():
            scores[folded] = network(to_inputs(batch, cfg, torch.device("cpu")))
        if not folded:
            assert_states_equal(seen.validated[-1], network.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(scores[True], scores[False], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ema", [False, True], ids=["weights", "average"])
def test_compiled_stages_validate_what_the_config_names(tiny_cfg, tmp_path, monkeypatch, first_run, ema):
    file = checkpoint_path(str(first_run(False)), 0)
    keys = {"TRAIN__CHECKPOINT_FILE_PATH": file, "TRAIN__CHECKPOINT_EPOCH_RESET": True, "MODEL__COMPILE": True}
    monkeypatch.setattr(video_resnet, "CompiledStages", partial(CompiledStages, backend="eager"))
    seen = Seen(monkeypatch)
    train(tiny_cfg(OUTPUT_DIR=tmp_path, **PLAIN, **keys, SOLVER__EMA_DECAY=DECAY if ema else 0.0), RankInfo())
    assert_states_equal(load(tmp_path / "first")["model_state"], seen.steps[0], rtol=0, atol=0)
    assert_states_equal(seen.average(seen.steps[0]) if ema else seen.steps[-1], seen.validated[-1])


def test_precise_statistics_are_those_of_the_network_that_is_validated(tiny_cfg, tmp_path, monkeypatch):
    keys = PLAIN | {"BN__USE_PRECISE_STATS": True, "BN__NUM_BATCHES_PRECISE": 1, "SOLVER__EMA_DECAY": DECAY}
    networks, update = [], train_module.update_precise_bn

    def note(network, *args):
        networks.append(copied(network))
        update(network, *args)

    monkeypatch.setattr(train_module, "update_precise_bn", note)
    train(tiny_cfg(OUTPUT_DIR=tmp_path, **keys), RankInfo())
    saved, name = load(tmp_path), "s2.pathway0_res0.branch2.a.weight"
    for network, part in zip(networks, ("model_state", "ema_state"), strict=True):
        torch.testing.assert_close(network[name], saved[part][name], rtol=0, atol=0)
        norm = "s5.pathway0_res0.branch2.b_bn.running_var"
        assert not torch.equal(network[norm], saved[part][norm])


def _train_in_two(rank, cfg, folder):
    with pytest.MonkeyPatch.context() as patch:
        seen = Seen(patch)
        train(cfg, RankInfo(rank, 2, rank, 2))
    torch.save({"start": seen.steps[0], "validated": seen.validated}, folder / f"seen{rank}.pth")


@pytest.mark.parametrize("ema", [pytest.param(False, marks=pytest.mark.slow), True], ids=["weights", "average"])
def test_all_processes_validate_the_network_that_is_saved(tiny_cfg, tmp_path, first_run, ema):
    """Running statistics are each process's own while it trains; what is validated is one network."""
    file = checkpoint_path(str(first_run(False)), 0)
    keys = PLAIN | {"TRAIN__CHECKPOINT_FILE_PATH": file, "TRAIN__CHECKPOINT_EPOCH_RESET": True}
    cfg = tiny_cfg(OUTPUT_DIR=tmp_path / "two", **keys, SOLVER__EMA_DECAY=DECAY if ema else 0.0)
    run_in_processes(_train_in_two, tmp_path, cfg, tmp_path)
    saved = load(tmp_path / "two")["ema_state" if ema else "model_state"]
    for rank in (0, 1):
        seen = torch.load(tmp_path / f"seen{rank}.pth", weights_only=True)
        assert_states_equal(load(tmp_path / "first")["model_state"], seen["start"], rtol=0, atol=0)
        for state in seen["validated"]:
            assert_states_equal(saved, state, rtol=0, atol=0)
