"""The schedule of multigrid training, beside the one that PySlowFast derives from its SSv2 config."""

import pytest

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.engine.lr_policy import lr_at_epoch
from slowfast_atfr.engine.multigrid import MultigridSchedule, check_processes, norm_for

SSV2 = [
    *("DATA.NUM_FRAMES", 64, "DATA.SAMPLING_RATE", 2, "TRAIN.BATCH_SIZE", 16, "NUM_GPUS", 8, "SLOWFAST.ALPHA", 4),
    *("SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.LRS", [1, 0.1, 0.01], "SOLVER.STEPS", [0, 14, 18]),
    *("SOLVER.MAX_EPOCH", 22, "SOLVER.BASE_LR", 0.03, "SOLVER.WARMUP_EPOCHS", 0.19, "SOLVER.WARMUP_START_LR", 1e-4),
    *("BN.NORM_TYPE", "sync_batchnorm", "BN.NUM_SYNC_DEVICES", 4),
]
LONG, SHORT = ["MULTIGRID.LONG_CYCLE", True], ["MULTIGRID.SHORT_CYCLE", True]
# PySlowFast's: end epoch, frames, crop, batch, norm, its splits or devices, rate, short cycle's batches, learning rate
GOLDEN = [
    (11, 16, 158, 128, "sub_batchnorm", 2, 8, (256, 128, 128), 0.24),
    (16, 32, 158, 64, "batchnorm", 1, 4, (128, 64, 64), 0.12),
    (21, 32, 224, 32, "sync_batchnorm", 2, 4, (128, 64, 32), 0.06),
    (24, 64, 224, 16, "sync_batchnorm", 4, 2, (64, 32, 16), 0.03),
    (27, 16, 158, 128, "sub_batchnorm", 2, 8, (256, 128, 128), 0.024),
    (28, 32, 158, 64, "batchnorm", 1, 4, (128, 64, 64), 0.012),
    (30, 32, 224, 32, "sync_batchnorm", 2, 4, (128, 64, 32), 0.006),
    (31, 64, 224, 16, "sync_batchnorm", 4, 2, (64, 32, 16), 0.003),
    (33, 64, 224, 16, "sync_batchnorm", 4, 2, (64, 32, 16), 0.0003),
]


def schedule_of(*pairs):
    return MultigridSchedule(load_cfg(None, [str(item) for item in pairs]))


@pytest.fixture
def ssv2():
    return schedule_of(*SSV2, *LONG, *SHORT)


@pytest.mark.parametrize("epoch", range(33))
def test_every_epoch_is_pyslowfasts(ssv2, epoch):
    end, frames, crop, batch, norm, parts, rate, batches, lr = next(row for row in GOLDEN if epoch < row[0])
    phase = ssv2.at(epoch)
    assert (phase.num_frames, phase.crop_size, phase.batch_size) == (frames, crop, batch)
    assert (phase.norm, max(phase.norm_splits, phase.sync_devices)) == (norm, parts)
    assert (phase.max_sampling_rate, phase.short_cycle) == (rate, batches)
    assert phase.short_cycle_crops == (112, 158, crop)
    cfg = load_cfg(None, [str(item) for item in SSV2])
    cfg.defrost()
    cfg.SOLVER = ssv2.solver()
    assert lr_at_epoch(cfg, epoch) == pytest.approx(1e-4 if epoch == 0 else lr)


def test_steps_rates_and_end_are_pyslowfasts(ssv2):
    assert ssv2.steps == [0, 11, 16, 21, 24, 27, 28, 30, 30, 31]
    assert ssv2.lrs == pytest.approx([8, 4, 2, 1, 0.8, 0.4, 0.2, 0.1, 0.1, 0.01])
    assert ssv2.max_epoch == 33


def test_phases_follow_one_another_without_a_gap(ssv2):
    ends = [phase.end_epoch for phase in ssv2.phases]
    assert [phase.first_epoch for phase in ssv2.phases] == [0, *ends[:-1]]
    assert ends[-1] == ssv2.max_epoch
    assert ssv2.at(1000) == ssv2.phases[-1]


def test_due_epochs_are_pyslowfasts(ssv2):
    due = [epoch for epoch in range(33) if ssv2.is_due(epoch, 10)]
    assert due == [2, 6, 10, 11, 13, 15, 16, 18, 20, 21, 23, 24, 26, 27, 28, 29, 30, 32]
    alone = schedule_of("SOLVER.MAX_EPOCH", 25)
    assert [epoch for epoch in range(25) if alone.is_due(epoch, 10)] == [9, 19, 24]


def test_a_phase_has_a_config_of_its_own(ssv2):
    cfg = ssv2.cfg_of(ssv2.at(0))
    assert (cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE, cfg.TRAIN.BATCH_SIZE) == (16, 158, 128)
    assert (cfg.BN.NORM_TYPE, cfg.BN.NUM_SPLITS, cfg.SOLVER.MAX_EPOCH) == ("sub_batchnorm", 2, 33)
    assert cfg.is_frozen()


def test_a_long_cycle_alone_has_one_batch_size_per_phase():
    schedule = schedule_of(*SSV2, *LONG)
    assert all(phase.short_cycle == () and phase.short_cycle_crops == () for phase in schedule.phases)
    assert {phase.batch_size for phase in schedule.phases} == {128, 64, 32, 16}


def test_a_short_cycle_alone_keeps_the_shape_and_stretches_the_epochs():
    schedule = schedule_of(*SSV2, *SHORT)
    (phase,) = schedule.phases
    assert (phase.num_frames, phase.crop_size, phase.batch_size, phase.norm) == (64, 224, 16, "sync_batchnorm")
    assert phase.short_cycle == (64, 32, 16)
    assert phase.max_sampling_rate == 2
    assert (schedule.steps, schedule.max_epoch) == ([0, 21, 27], 33)


def test_without_cycles_the_run_is_the_configs():
    cfg = load_cfg(None, [str(item) for item in SSV2])
    schedule = MultigridSchedule(cfg)
    (phase,) = schedule.phases
    assert (phase.first_epoch, phase.end_epoch, phase.batch_size, phase.short_cycle) == (0, 22, 16, ())
    assert schedule.solver() == cfg.SOLVER


def test_the_norm_stays_the_configs_until_a_shape_is_another():
    factors = ["MULTIGRID.LONG_CYCLE_FACTORS", "[[1, 1], [0.5, 1]]", "BN.NORM_TYPE", "batchnorm"]
    norms = [phase.norm for phase in schedule_of(*SSV2, *LONG, *factors).phases]
    assert norms == ["batchnorm", "sync_batchnorm", "sync_batchnorm", "sync_batchnorm", "sync_batchnorm"]


def test_the_schedule_leaves_the_config_alone():
    cfg = load_cfg(None, [str(item) for item in [*SSV2, *LONG, *SHORT]])
    before = cfg.dump()
    MultigridSchedule(cfg).solver()
    assert cfg.dump() == before


@pytest.mark.parametrize(
    ("batch", "norm"),
    [
        (16, ("sub_batchnorm", 2, 1)),
        (20, ("sub_batchnorm", 2, 1)),
        (8, ("batchnorm", 1, 1)),
        (3, ("sync_batchnorm", 1, 2)),
    ],
)
def test_statistics_keep_their_size(batch, norm):
    assert norm_for(batch, 8) == norm


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["SOLVER.LR_POLICY", "cosine"], ["SOLVER.LR_POLICY", "cosine", "steps_with_relative_lrs"]),
        (["SOLVER.STEPS", "[0]"], ["SOLVER.STEPS", "two epochs"]),
        (["MULTIGRID.LONG_CYCLE_FACTORS", "[[0.1, 1]]"], ["MULTIGRID.LONG_CYCLE_FACTORS", "SLOWFAST.ALPHA"]),
        (["MULTIGRID.LONG_CYCLE_FACTORS", "[[2, 1]]"], ["MULTIGRID.LONG_CYCLE_FACTORS", "pairs"]),
        (["MULTIGRID.LONG_CYCLE_FACTORS", "[]"], ["MULTIGRID.LONG_CYCLE_FACTORS", "pairs"]),
        (["MULTIGRID.SHORT_CYCLE_FACTORS", "[0.5]"], ["MULTIGRID.SHORT_CYCLE_FACTORS", "two factors"]),
        (["MULTIGRID.EPOCH_FACTOR", "0"], ["MULTIGRID.EPOCH_FACTOR"]),
        (["MULTIGRID.BN_BASE_SIZE", "0"], ["MULTIGRID.BN_BASE_SIZE"]),
        (["MULTIGRID.EVAL_FREQ", "0"], ["MULTIGRID.EVAL_FREQ"]),
    ],
)
def test_a_schedule_that_cannot_be_is_told(pairs, words):
    with pytest.raises(ConfigError) as error:
        schedule_of(*SSV2, *LONG, *pairs)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(("world", "told"), [(3, "epochs 17 to 21 groups of 2"), (6, "epochs 22 to 24 groups of 4")])
def test_processes_that_fill_no_groups_are_told_before_the_run(ssv2, world, told):
    with pytest.raises(ConfigError, match=f"in {told} processes .*and the run has {world} .*MULTIGRID.BN_BASE_SIZE"):
        check_processes(ssv2.phases, world)
    for fits in (1, 2, 4, 8):
        check_processes(ssv2.phases, fits)
