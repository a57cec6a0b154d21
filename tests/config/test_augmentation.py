"""The text of a RandAugment policy, and what AUG, MIXUP and the relative crops may say."""

import pytest

from slowfast_atfr.config import ConfigError, RandAugmentPolicy, load_cfg, parse_rand_augment


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("rand", RandAugmentPolicy(10, 2, 0.0, False, False)),
        ("rand-m7-n4-mstd0.5-inc1", RandAugmentPolicy(7, 4, 0.5, True, False)),
        ("rand-inc1-mstd1-m9", RandAugmentPolicy(9, 2, 1.0, True, False)),
        ("rand-mstd1-w0", RandAugmentPolicy(10, 2, 1.0, False, True)),
        ("rand-inc0", RandAugmentPolicy(10, 2, 0.0, False, False)),
    ],
)
def test_a_policy_is_what_its_text_says(text, policy):
    assert parse_rand_augment(text) == policy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("augmix-m3", ["AUG.AA_TYPE", "'augmix-m3'", "rand-m7-n4-mstd0.5-inc1"]),
        ("rand-q3", ["part 'q3'", "mstd (standard deviation"]),
        ("rand-m", ["part 'm'"]),
        ("rand-m-3", ["part 'm'"]),
        ("rand-m11", ["part m is a whole number from 0 to 10"]),
        ("rand-m2.5", ["part m is a whole number"]),
        ("rand-n0", ["part n is a whole number from 1"]),
        ("rand-w0-n14", ["part n is a whole number from 1 to 13"]),
        ("rand-w1", ["part w is 0"]),
        ("rand-inc2", ["part inc is 0 or 1"]),
        ("rand-m3-m4", ["part m is given twice"]),
        ("rand--m3", ["part ''"]),
    ],
)
def test_a_wrong_policy_names_its_part(text, words):
    with pytest.raises(ConfigError) as error:
        load_cfg(None, ["AUG.AA_TYPE", text])
    for word in words:
        assert word in str(error.value)


MIXED = ["MIXUP.ENABLE", "True", "MODEL.LOSS_FUNC", "soft_cross_entropy"]


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["AUG.NUM_SAMPLE", "0"], "AUG.NUM_SAMPLE is 0; it is at least 1"),
        (["AUG.COLOR_JITTER", "1.5"], "AUG.COLOR_JITTER is 1.5; it is a share, from 0 to 1"),
        (["AUG.INTERPOLATION", "lanczos"], "choose one of bilinear, bicubic, random"),
        (["AUG.RE_MODE", "noise"], "choose one of pixel, rand, const"),
        (["AUG.RE_PROB", "2"], "AUG.RE_PROB is 2.0; it is from 0 to 1"),
        (["AUG.RE_COUNT", "0"], "AUG.RE_COUNT is 0; it is at least 1"),
        (["AUG.RE_SPLIT", "True"], "AUG.RE_SPLIT is True; .* choose False"),
        (["AUG.GEN_MASK_LOADER", "True"], "AUG.GEN_MASK_LOADER is True, a feature .* does not have"),
        (["DATA.TRAIN_JITTER_MOTION_SHIFT", "True"], "DATA.TRAIN_JITTER_MOTION_SHIFT is True, a feature"),
        (["DATA.TRAIN_JITTER_SCALES_RELATIVE", "[0.08, 1.0]"], "DATA.TRAIN_JITTER_ASPECT_RELATIVE is .* or neither"),
        (["DATA.TRAIN_JITTER_ASPECT_RELATIVE", "[0.75, 1.3]"], "DATA.TRAIN_JITTER_ASPECT_RELATIVE is .* or neither"),
        (["DATA.TRAIN_JITTER_SCALES_RELATIVE", "[0.08, 1.5]"], "up to 1, the whole frame"),
        (["DATA.TRAIN_JITTER_SCALES_RELATIVE", "[0, 1]"], r"\[least, most\], above 0"),
        (["DATA.TRAIN_JITTER_ASPECT_RELATIVE", "[2, 1]"], r"\[least, most\], above 0"),
        (["MIXUP.PROB", "1.1"], "MIXUP.PROB is 1.1"),
        (["MIXUP.ALPHA", "-1"], "MIXUP.ALPHA is -1.0; it is at least 0"),
        (["MIXUP.ENABLE", "True"], "MODEL.LOSS_FUNC is 'cross_entropy'; .* choose soft_cross_entropy, or bce_logit"),
        ([*MIXED, "MIXUP.ALPHA", "0", "MIXUP.CUTMIX_ALPHA", "0"], "one of MIXUP.ALPHA and MIXUP.CUTMIX_ALPHA"),
        ([*MIXED, "TRAIN.BATCH_SIZE", "1"], "TRAIN.BATCH_SIZE is 1; .* mixing takes two"),
    ],
)
def test_a_bad_value_names_the_key_and_the_choices(pairs, words):
    with pytest.raises(ConfigError, match=words):
        load_cfg(None, pairs)


def test_two_clips_of_one_video_can_be_mixed():
    samples = ["AUG.ENABLE", "True", "AUG.NUM_SAMPLE", "2"]
    assert load_cfg(None, [*MIXED, "TRAIN.BATCH_SIZE", "1", *samples]).MIXUP.ENABLE


def test_the_recipe_of_pyslowfasts_transformers_loads(tmp_path):
    text = """
    DATA:
      TRAIN_JITTER_SCALES_RELATIVE: [0.08, 1.0]
      TRAIN_JITTER_ASPECT_RELATIVE: [0.75, 1.3333]
      TRAIN_JITTER_MOTION_SHIFT: False
    AUG:
      NUM_SAMPLE: 2
      ENABLE: True
      COLOR_JITTER: 0.4
      AA_TYPE: rand-m7-n4-mstd0.5-inc1
      INTERPOLATION: bicubic
      RE_PROB: 0.25
      RE_MODE: pixel
      RE_COUNT: 1
      RE_SPLIT: False
      MASK_RATIO: 0.0
    MIXUP: {ENABLE: True, ALPHA: 0.8, CUTMIX_ALPHA: 1.0, PROB: 1.0, SWITCH_PROB: 0.5, LABEL_SMOOTH_VALUE: 0.1}
    MODEL: {LOSS_FUNC: soft_cross_entropy}
    """
    (tmp_path / "theirs.yaml").write_text(text)
    cfg = load_cfg(str(tmp_path / "theirs.yaml"))
    assert cfg.AUG.NUM_SAMPLE == 2 and cfg.MIXUP.ENABLE and cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE == [0.08, 1.0]
