"""Values that do not fit together are refused, with the key, the value and the rule."""

import pytest

from slowfast_atfr.config import ConfigError, load_cfg

BAD = [
    ("MODEL.ARCH", "resnext", "slowfast, slow, c2d, slow_c2d, 2d, i3d, slow_i3d, x3d, 3dresnet"),
    ("RESNET.DEPTH", "34", "18, 50, 101"),
    ("RESNET.TRANS_FUNC", "x3d_transform", "MODEL.ARCH x3d"),
    ("X3D.WIDTH_FACTOR", "0", "above 0"),
    ("X3D.DIM_C5", "0", "at least 1"),
    ("RESNET.SPATIAL_STRIDES", "[[1], [2], [2]]", "four stages"),
    ("RESNET.NUM_BLOCK_TEMP_KERNEL", "[[3, 3, 3], [4], [6], [3]]", "four stages"),
    ("RESNET.WIDTH_PER_GROUP", "60", "multiple of 8"),
    ("NONLOCAL.INSTANTIATION", "gaussian", "dot_product, softmax"),
    ("NONLOCAL.LOCATION", "[[[]], [[1, 3]], [[]]]", "four stages"),
    ("NONLOCAL.LOCATION", "[[], [[]], [[]], [[]]]", "one per pathway (2 for slowfast)"),
    ("NONLOCAL.LOCATION", "[[1], [[]], [[]], [[]]]", "an entry is a list of blocks"),
    ("NONLOCAL.LOCATION", "[[[]], [[1.5]], [[]], [[]]]", "an entry is a list of blocks"),
    ("NONLOCAL.LOCATION", "[[[]], [[-1]], [[]], [[]]]", "from 0"),
    ("NONLOCAL.LOCATION", "[[[]], [[1, 4]], [[]], [[]]]", "res3 of depth 50 has the blocks 0 to 3"),
    ("NONLOCAL.GROUP", "[[1], [1], [0], [1]]", "at least 1"),
    ("NONLOCAL.GROUP", "[[1, 1]]", "four stages"),
    ("NONLOCAL.POOL", "[[1, 2, 2], [1, 2, 2], [1, 2, 2], [1, 2, 2]]", "(T, H, W)"),
    ("NONLOCAL.POOL", "[[[1, 2]], [[1, 2]], [[1, 2]], [[1, 2]]]", "three sizes"),
    ("DATA.DECODING_BACKEND", "decord", "pyav, torchcodec, torchvision"),
    ("BN.NORM_TYPE", "layernorm", "batchnorm, sync_batchnorm"),
    ("SGS.STAGES", "[res5]", "conv1, res2, res3, res4"),
    ("SGS.PATHWAYS", "[2]", "0 (slow), 1 (fast)"),
    ("SGS.NUM_BINS", "[1, 2, 3]", "2 pathway(s)"),
    ("SGS.NUM_BINS", "[]", "2 pathway(s)"),
    ("SGS.NUM_BINS", "[0]", "-1 for the block's length"),
    ("SGS.NUM_BINS", "[1.5]", "whole numbers"),
    ("SGS.TEST_NUM_BINS", "[4, 4, 4]", "2 pathway(s)"),
    ("SGS.BLOCK_SIZE", "[2, 8, 16]", "2 pathway(s)"),
    ("SGS.BLOCK_SIZE", "[-1]", "0 for the whole clip"),
    ("SGS.ORDER", "random", "bin, time"),
    ("SGS.FUSION_PAD", "start", "center, end"),
    ("TEMPORAL_ATTENTION.STAGES", "[res2, res5]", "conv1, res2, res3, res4"),
    ("TEMPORAL_ATTENTION.STAGES", "[res2, res2]", "once"),
    ("TEMPORAL_ATTENTION.NUM_DESCRIPTORS", "-1", "at least 1, or 0"),
    ("TEMPORAL_ATTENTION.KIND", "add", "gate, residual"),
    ("DATA.INPUT_CHANNEL_NUM", "[3]", "[3, 3]"),
    ("DATA.TRAIN_JITTER_SCALES", "[200, 320]", "TRAIN_CROP_SIZE (224)"),
    ("DATA.STD", "[0, 1, 1]", "above 0"),
    ("SLOWFAST.ALPHA", "3", "divides DATA.NUM_FRAMES"),
    ("SLOWFAST.FUSION_KERNEL_SZ", "4", "odd"),
    ("RESNET.STRIDE_1X1", "True", "ignores it"),
    ("SOLVER.OPTIMIZING_METHOD", "lamb", "sgd"),
    ("TEST.NUM_SPATIAL_CROPS", "2", "1, 3"),
    ("SHARD_ID", "1", "NUM_SHARDS - 1 = 0"),
    ("TRAIN.CHECKPOINT_TYPE", "onnx", "pytorch, caffe2"),
    ("RNG_SEED", "-1", "at least 0"),
    ("MODEL.DROPOUT_RATE", "1.0", "below 1"),
    ("MODEL.ACT_CHECKPOINT_STAGES", "[res1]", "res2, res3, res4, res5"),
    ("MODEL.ACT_CHECKPOINT_STAGES", "[res2, res2]", "once"),
    ("MODEL.REPLICATE_PAD_STAGES", "[stem]", "conv1, res2, res3, res4, res5"),
    ("MODEL.REPLICATE_PAD_STAGES", "[res2, res2]", "once"),
    ("MODEL.REPLICATE_PAD_STAGES", "[2]", "a list of names"),
]


@pytest.mark.parametrize(("key", "value", "words"), BAD)
def test_a_bad_value_names_the_key_and_the_choices(key, value, words):
    with pytest.raises(ConfigError) as error:
        load_cfg(None, [key, value])
    assert key in str(error.value) and words in str(error.value)


def test_groups_that_a_basic_block_would_not_have_are_reported():
    pairs = ["RESNET.TRANS_FUNC", "basic_transform", "RESNET.NUM_GROUPS", "4"]
    with pytest.raises(ConfigError, match="RESNET.NUM_GROUPS is 4; basic_transform has no groups"):
        load_cfg(None, pairs)
    assert load_cfg(None, pairs[2:]).RESNET.NUM_GROUPS == 4


def test_batches_are_shared_evenly_by_the_processes():
    with pytest.raises(ConfigError, match="TRAIN.BATCH_SIZE is 10.*multiple of 4"):
        load_cfg(None, ["NUM_GPUS", "4", "TRAIN.BATCH_SIZE", "10"])


def test_activation_checkpointing_needs_a_stage():
    with pytest.raises(ConfigError, match=r"ACT_CHECKPOINT_STAGES is \[\]; MODEL.ACT_CHECKPOINT is True, so name a"):
        load_cfg(None, ["MODEL.ACT_CHECKPOINT", "True", "MODEL.ACT_CHECKPOINT_STAGES", "[]"])
    assert load_cfg(None, ["MODEL.ACT_CHECKPOINT_STAGES", "[]"]).MODEL.ACT_CHECKPOINT is False


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("BN.NORM_TYPE", "sync_batchnorm", "BN.NORM_TYPE batchnorm"), ("MULTIGRID.LONG_CYCLE", "True", "LONG_CYCLE")],
)
def test_compiled_networks_have_norms_that_compile(key, value, words):
    with pytest.raises(ConfigError, match=f"MODEL.COMPILE is True; .*{words}"):
        load_cfg(None, ["MODEL.COMPILE", "True", key, value])


@pytest.mark.parametrize("section", ["SGS", "TEMPORAL_ATTENTION"])
def test_what_is_enabled_needs_a_stage(section):
    with pytest.raises(ConfigError, match=rf"{section}.STAGES is \[\]; {section}.ENABLE is True, so name a stage"):
        load_cfg(None, [f"{section}.ENABLE", "True", f"{section}.STAGES", "[]"])
    assert not load_cfg(None, [f"{section}.STAGES", "[]"])[section].ENABLE


def test_sgs_needs_a_pathway_of_the_network():
    single = [
        "MODEL.ARCH",
        "3dresnet",
        "MODEL.MODEL_NAME",
        "ResNet",
        "DATA.INPUT_CHANNEL_NUM",
        "[3]",
        "SGS.ENABLE",
        "True",
    ]
    with pytest.raises(ConfigError, match="none of them is a pathway of 3dresnet"):
        load_cfg(None, [*single, "SGS.PATHWAYS", "[1]"])
    assert load_cfg(None, single).SGS.ENABLE


def test_x3d_has_no_non_local_blocks():
    x3d = [
        "MODEL.ARCH",
        "x3d",
        "MODEL.MODEL_NAME",
        "X3D",
        "DATA.INPUT_CHANNEL_NUM",
        "[3]",
        "RESNET.TRANS_FUNC",
        "x3d_transform",
    ]
    with pytest.raises(ConfigError, match="NONLOCAL.LOCATION is .*x3d has no non-local blocks"):
        load_cfg(None, [*x3d, "NONLOCAL.LOCATION", "[[[]], [[1]], [[]], [[]]]"])
    assert load_cfg(None, x3d).MODEL.ARCH == "x3d"


@pytest.mark.parametrize(("arch", "fits"), [("i3d", False), ("c2d", False), ("slow_i3d", True), ("2d", True)])
def test_networks_that_pool_time_take_two_frames(arch, fits):
    pairs = ["MODEL.ARCH", arch, "MODEL.MODEL_NAME", "ResNet", "DATA.INPUT_CHANNEL_NUM", "[3]", "DATA.NUM_FRAMES"]
    assert load_cfg(None, [*pairs, "2"]).DATA.NUM_FRAMES == 2
    if fits:
        assert load_cfg(None, [*pairs, "1"]).DATA.NUM_FRAMES == 1
    else:
        with pytest.raises(ConfigError, match=f"DATA.NUM_FRAMES is 1; {arch} .* at least 2"):
            load_cfg(None, [*pairs, "1"])


def test_relative_steps_need_a_factor_each():
    steps = ["SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.STEPS", "[0, 5]"]
    with pytest.raises(ConfigError, match="SOLVER.LRS"):
        load_cfg(None, [*steps, "SOLVER.LRS", "[1]"])
    with pytest.raises(ConfigError, match="SOLVER.STEPS"):
        load_cfg(None, ["SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.STEPS", "[5, 0]"])
