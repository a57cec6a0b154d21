import pytest

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.engine.lr_policy import lr_at_epoch


def make_cfg(num_shards=1, **solver):
    cfg = get_cfg()
    cfg.NUM_SHARDS = num_shards
    settings = {"BASE_LR": 0.4, "COSINE_END_LR": 0.0, "MAX_EPOCH": 100, "WARMUP_START_LR": 0.1, **solver}
    for key, value in settings.items():
        assert key in cfg.SOLVER
        cfg.SOLVER[key] = value
    cfg.freeze()
    return cfg


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.4), (25, 0.2 * (1 + 0.5**0.5)), (50, 0.2), (75, 0.2 * (1 - 0.5**0.5)), (100, 0.0), (12.5, 0.38477590650)],
)
def test_cosine_by_hand(epoch, expected):
    assert lr_at_epoch(make_cfg(), epoch) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_cosine_ends_where_it_is_told():
    cfg = make_cfg(COSINE_END_LR=0.1)
    assert [lr_at_epoch(cfg, epoch) for epoch in (0, 50, 100)] == pytest.approx([0.4, 0.25, 0.1])


def test_warm_up_runs_straight_to_the_policys_value_at_its_end():
    cfg = make_cfg(WARMUP_EPOCHS=50.0)  # half of the cosine is gone by then: 0.2
    assert [lr_at_epoch(cfg, epoch) for epoch in (0, 25, 49.999, 50)] == pytest.approx([0.1, 0.15, 0.2, 0.2], rel=1e-4)


def test_cosine_after_warm_up_starts_at_the_top():
    cfg = make_cfg(WARMUP_EPOCHS=50.0, COSINE_AFTER_WARMUP=True)
    assert [lr_at_epoch(cfg, epoch) for epoch in (0, 25, 50, 75, 100)] == pytest.approx([0.1, 0.25, 0.4, 0.2, 0.0])


def test_no_epoch_after_the_warm_up_is_told():
    with pytest.raises(ConfigError, match="SOLVER.WARMUP_EPOCHS is 100.0 and SOLVER.MAX_EPOCH 100"):
        lr_at_epoch(make_cfg(WARMUP_EPOCHS=100.0, COSINE_AFTER_WARMUP=True), 100)


def test_steps_begin_at_their_epoch():
    cfg = make_cfg(LR_POLICY="steps_with_relative_lrs", STEPS=[0, 14, 18], LRS=[1, 0.1, 0.01], WARMUP_EPOCHS=2.0)
    curve = [lr_at_epoch(cfg, epoch) for epoch in (0, 1, 2, 13.99, 14, 17.5, 18, 1000)]
    assert curve == pytest.approx([0.1, 0.25, 0.4, 0.4, 0.04, 0.04, 0.004, 0.004])


def test_shards_scale_the_whole_curve():
    alone = make_cfg(COSINE_END_LR=0.1, WARMUP_EPOCHS=10.0)
    many = make_cfg(8, COSINE_END_LR=0.1, WARMUP_EPOCHS=10.0, BASE_LR_SCALE_NUM_SHARDS=True)
    for epoch in (0, 5, 10, 60, 100):
        assert lr_at_epoch(many, epoch) == pytest.approx(8 * lr_at_epoch(alone, epoch))
    assert lr_at_epoch(make_cfg(8), 0) == 0.4  # only where it is asked for


def test_an_unknown_policy_is_told_with_the_choices():
    with pytest.raises(ConfigError, match="SOLVER.LR_POLICY is 'cosin'; choose one of cosine, steps_with_relative_lrs"):
        lr_at_epoch(make_cfg(LR_POLICY="cosin"), 0)
