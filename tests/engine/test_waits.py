"""When the host waits for a GPU: exactly where docs/benchmarks.md says so."""

from collections import Counter

import pytest
import torch

from slowfast_atfr.config import load_cfg
from slowfast_atfr.datasets import prefetch as prefetch_module
from slowfast_atfr.engine import run as run_module
from slowfast_atfr.engine import test as test_module
from slowfast_atfr.engine import train as train_module
from slowfast_atfr.utils.distributed import RankInfo
from tests.fake_gpu import CUDA
from tests.tiny_sets import small_pairs, write_clip

RANK = RankInfo(device=CUDA)
TRAINING = {"sgs.temporal_sampler.on_host: cpu": 1, "engine.loss_guard.agree: tolist": 1}  # a step
EVALUATION = {"sgs.temporal_sampler.on_host: cpu": 1}
TESTING = {**EVALUATION, "engine.test._now: synchronize": 2, "engine.metrics.video_meter.update: cpu": 1}


@pytest.fixture
def cfg_of(tmp_path, repo, monkeypatch):
    """A run on a tiny set, whose loaders pin their batches, as DataLoader does where there is a GPU."""
    for split, count in (("train", 12), ("val", 8)):
        for index in range(count):
            write_clip(tmp_path / f"{split}_{index}.mp4", label=index % 3, frames=16)
        lines = "".join(f"{split}_{index}.mp4 {index % 3}\n" for index in range(count))
        (tmp_path / f"{split}.csv").write_text(lines)
    (tmp_path / "test.csv").write_text((tmp_path / "val.csv").read_text())

    def pinned(batches, device, run=prefetch_module.prefetch):
        return run((batch.pin_memory() for batch in batches), device)

    for module in (train_module, test_module):
        monkeypatch.setattr(module, "prefetch", pinned)
    for name, value in (("max_memory_allocated", 0), ("is_bf16_supported", True)):
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value, **__: value)

    def load(**changes):
        pairs = small_pairs(
            DATA__PATH_TO_DATA_DIR=tmp_path, DATA__PATH_PREFIX=tmp_path, OUTPUT_DIR=tmp_path / "out",
            TRAIN__DATASET="kinetics", TEST__DATASET="kinetics", NUM_GPUS=1, LOG_PERIOD=1000, SOLVER__MAX_EPOCH=1,
            **changes,
        )  # fmt: skip
        return load_cfg(str(repo / "configs/Demo/SLOWFAST_R18_ATFR.yaml"), pairs)

    return load


class Enough(Exception):
    """Ends a run when the test has seen what it needs."""


def waits_of(gpu, monkeypatch, call, module, steps=2):
    """Waits of the first steps, from where one makes its inputs to where the next one after them does."""
    marks = []

    def marked(*args, run=module.to_inputs):
        marks.append(len(gpu.waits))
        if len(marks) > steps:
            raise Enough
        return run(*args)

    monkeypatch.setattr(module, "to_inputs", marked)
    with pytest.raises(Enough):
        call()
    return Counter(gpu.waits[marks[0] : marks[steps]])


def slow(case):
    return pytest.param(case, marks=pytest.mark.slow)


def times(steps, counts):
    return {name: count * steps for name, count in counts.items()}


@pytest.mark.parametrize(
    "changes",
    [
        slow({}),
        {"SOLVER__CLIP_GRAD_VAL": 1.0, "SOLVER__EMA_DECAY": 0.9, "SOLVER__GRAD_ACCUM_STEPS": 2},
        {"TRAIN__MIXED_PRECISION": True, "TRAIN__AMP_DTYPE": "bfloat16", "MODEL__ACT_CHECKPOINT": True},
        slow({"MIXUP__ENABLE": True, "MODEL__LOSS_FUNC": "soft_cross_entropy", "BN__NORM_TYPE": "sub_batchnorm",
              "BN__NUM_SPLITS": 2}),
        slow({"SGS__SIMILARITY": "path", "SGS__KERNEL": "linear_mean", "SOLVER__OPTIMIZING_METHOD": "adamw"}),
        {"SGS__SIMILARITY": "spherical", "SGS__KERNEL": "delta"},
    ],
)  # fmt: skip
def test_a_training_step_waits_for_bins_and_loss(gpu, cfg_of, monkeypatch, changes):
    cfg = cfg_of(TRAIN__EVAL_PERIOD=10, TRAIN__CHECKPOINT_PERIOD=10, TRAIN__BATCH_SIZE=4, **changes)
    waits = waits_of(gpu, monkeypatch, lambda: train_module.train(cfg, RANK), train_module)
    assert waits == times(2, TRAINING)


def test_a_step_of_evaluation_waits_for_bins(gpu, cfg_of, monkeypatch):
    cfg = cfg_of(TEST__BATCH_SIZE=2, TRAIN__BATCH_SIZE=2)
    run, _ = run_module.build_run(cfg, RANK)
    val = train_module.ValMeter(len(run.val_loader), cfg)
    with run_module.watch_cost(run.network, cfg) as cost:
        monitors = train_module.RunMonitors(None, val, None, train_module.SkipLog(), None, cost, RANK.stop, None)
        waits = waits_of(gpu, monkeypatch, lambda: train_module.eval_epoch(run, 0, monitors), train_module)
    assert waits == times(2, EVALUATION)


def test_a_step_of_a_test_also_waits_for_the_scores_and_the_clock(gpu, cfg_of, monkeypatch):
    train_module.train(cfg_of(TRAIN__BATCH_SIZE=12, TRAIN__EVAL_PERIOD=10), RANK)
    gpu.reset()
    cfg = cfg_of(TEST__BATCH_SIZE=2, TEST__FOLD_NORMS=True, TEST__NUM_ENSEMBLE_VIEWS=2)
    waits = waits_of(gpu, monkeypatch, lambda: test_module.test(cfg, RANK), test_module)
    assert waits == times(2, TESTING)


def test_precise_batch_norm_waits_once_for_all_norms(gpu, cfg_of, monkeypatch):
    cfg = cfg_of(BN__USE_PRECISE_STATS=True, BN__NUM_BATCHES_PRECISE=2, TRAIN__BATCH_SIZE=4)
    run, _ = run_module.build_run(cfg, RANK)
    inputs = [
        [torch.randn(2, 3, frames, 32, 32, device=CUDA) for frames in (cfg.DATA.NUM_FRAMES // cfg.SLOWFAST.ALPHA,
         cfg.DATA.NUM_FRAMES)]
        for _ in range(2)
    ]  # fmt: skip
    gpu.reset()
    train_module.update_precise_bn(run.network, inputs, 2)
    assert Counter(gpu.waits) == {**times(2, EVALUATION), "engine.precise_bn._set_statistics: tolist": 1}
