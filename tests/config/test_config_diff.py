"""Differences between configs that can change a result."""

from slowfast_atfr.config import get_cfg
from slowfast_atfr.config.config_diff import FREE, UNUSED_ON_RESUME, changed_for_resume, changed_keys
from slowfast_atfr.config.load import flatten


def test_only_what_both_configs_have_and_a_result_depends_on_counts():
    cfg = get_cfg()
    before = dict(flatten(cfg))
    assert set(before) >= FREE | UNUSED_ON_RESUME
    assert not changed_keys(before, cfg) and not changed_keys({"SGS.OLD_KEY": 1}, cfg)
    assert changed_keys(before | {"OUTPUT_DIR": "elsewhere", "SGS.ORDER": "x"}, cfg) == {
        "SGS.ORDER": f"SGS.ORDER was 'x' and is {cfg.SGS.ORDER!r}"
    }


def test_a_run_that_goes_on_does_not_look_at_where_it_started_nor_at_what_tests_read():
    cfg = get_cfg()
    before = dict(flatten(cfg)) | {"TRAIN.CHECKPOINT_FILE_PATH": "base.pyth", "SGS.TEST_NUM_BINS": [4]}
    before |= {"TEST.BATCH_SIZE": 3, "SOLVER.MAX_EPOCH": 1}
    assert len(changed_keys(before, cfg)) == 4
    assert list(changed_for_resume(before, cfg)) == ["SOLVER.MAX_EPOCH"]
