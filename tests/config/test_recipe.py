"""What of a config a result does not depend on."""

from slowfast_atfr.config import get_cfg
from slowfast_atfr.config.load import flatten
from slowfast_atfr.config.recipe import FREE, changed_keys


def test_only_what_both_configs_have_and_a_result_depends_on_counts():
    cfg = get_cfg()
    before = dict(flatten(cfg))
    assert set(before) >= FREE
    assert not changed_keys(before, cfg) and not changed_keys({"SGS.OLD_KEY": 1}, cfg)
    assert changed_keys(before | {"OUTPUT_DIR": "elsewhere", "SGS.ORDER": "x"}, cfg) == {
        "SGS.ORDER": f"SGS.ORDER was 'x' and is {cfg.SGS.ORDER!r}"
    }
