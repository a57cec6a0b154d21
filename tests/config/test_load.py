"""Config files, the command line's pairs, and the errors that wrong ones get."""

import pytest

from slowfast_atfr.config import ConfigError, get_cfg, load_cfg, per_pathway


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_a_file_is_a_diff_of_its_base_and_pairs_win_over_both(tmp_path):
    write(tmp_path, "root.yaml", "SOLVER: {BASE_LR: 0.5, MAX_EPOCH: 3}\nSGS: {ENABLE: True}")
    write(tmp_path, "base.yaml", "_BASE_: root.yaml\nSOLVER: {MAX_EPOCH: 4, MOMENTUM: 0.8}")
    path = write(tmp_path, "leaf.yaml", "_BASE_: base.yaml\nSGS: {BLOCK_SIZE: [2, 8]}\nSOLVER: {MOMENTUM: 0.7}")
    cfg = load_cfg(path, ["SOLVER.MOMENTUM", "0.6"])
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_EPOCH, cfg.SOLVER.MOMENTUM) == (0.5, 4, 0.6)
    assert cfg.SGS.ENABLE and cfg.SGS.BLOCK_SIZE == [2, 8]


def test_a_loaded_config_is_frozen():
    cfg = load_cfg(None)
    with pytest.raises(AttributeError):
        cfg.NUM_GPUS = 3
    with pytest.raises(AttributeError):
        cfg.SGS.ENABLE = True


def test_defaults_are_fresh_each_time():
    get_cfg().SGS.STAGES.append("res3")
    assert get_cfg().SGS.STAGES == ["res2"]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("SOLVER.WEIGHT_DECAY", "1e-6", 1e-6),  # a string in YAML 1.1
        ("SOLVER.BASE_LR", "1", 1.0),
        ("OUTPUT_DIR", "007", "007"),
        ("TRAIN.ENABLE", "false", False),
        ("SGS.STAGES", "[res2, res4]", ["res2", "res4"]),
        ("SGS.NUM_BINS", "[-1, 8]", [-1, 8]),
        ("TEST.SAVE_RESULTS_PATH", "", ""),
        ("TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN", "[backbone.]", ["backbone."]),
        ("TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN", '("backbone.",)', ["backbone."]),
        ("TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN", "()", []),
        ("RESNET.SPATIAL_STRIDES", "((1,), (2,), (2,), (1,))", [[1], [2], [2], [1]]),
    ],
)
def test_pairs_take_yaml_in_the_kind_of_the_default(key, text, value):
    cfg = load_cfg(None, [key, text])
    section, _, leaf = key.rpartition(".")
    found = (cfg[section] if section else cfg)[leaf]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["SGS.NUM_BIN", "3"], ["SGS.NUM_BIN", "did you mean SGS.NUM_BINS"]),
        (["BATCH_SIZE", "3"], ["TRAIN.BATCH_SIZE", "TEST.BATCH_SIZE"]),
        (["TEMPORAL_SAMPLING.KERNEL_TYPE", "linear"], ["SGS.KERNEL"]),
        (["TEMPORAL_SAMPLING.NUM_BINS", "[-1]"], ["SGS.NUM_BINS"]),
        (["TEMPORAL_SAMPLING.SOMETHING", "1"], ["SGS.*"]),
        (["MODEL.TEMPORAL_LAYER_STAGE", "res2"], ["SGS.STAGES"]),
        (["NUM_GPUS", "many"], ["NUM_GPUS", "'many'", "whole number"]),
        (["TRAIN.ENABLE", "1"], ["TRAIN.ENABLE", "True or False"]),
        (["SGS.NUM_BINS", "4"], ["SGS.NUM_BINS", "list"]),
        (["DATA.TRAIN_JITTER_SCALES", "[a, b]"], ["DATA.TRAIN_JITTER_SCALES", "['a', 'b']", "whole numbers"]),
        (["DATA.STD", "[a, b, c]"], ["DATA.STD", "numbers"]),
        (["SOLVER.STEPS", "[0, a]"], ["SOLVER.STEPS", "numbers"]),
        (["SGS.STAGES", "[2]"], ["SGS.STAGES", "names"]),
        (["SGS.STAGES", "res2"], ["SGS.STAGES is 'res2', but it takes a list of names, in brackets"]),
        (["TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN", "module."], ["'module.', but it takes a list of names, in brackets"]),
        (["SGS.NUM_BINS", "8"], ["SGS.NUM_BINS is 8, but it takes a list like [1, 2]"]),
        (["TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN", "[3]"], ["TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN", "names"]),
        (["TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN", "(a"], ["TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN", "'(a'", "list"]),
        (["RESNET.SPATIAL_STRIDES", "[[1], [2.5], [2], [2]]"], ["RESNET.SPATIAL_STRIDES", "whole numbers"]),
        (["SGS", "True"], ["section", "SGS.ENABLE"]),
        (["NUM_GPUS"], ["NUM_GPUS", "no partner"]),
        (["NONLOCAL.LOCATION", "[[[a]], [[]], [[]], [[]]]"], ["NONLOCAL.LOCATION", "numbers"]),
        (["DETECTION.ENABLE", "True"], ["DETECTION.ENABLE", "does not have"]),
        (["SOLVER.LAYER_DECAY", "0.75"], ["SOLVER.LAYER_DECAY is 0.75", "does not have"]),
        (["TASK", "ssl"], ["TASK is 'ssl'", "does not have"]),
        (["DATA.MULTI_LABEL", "True"], ["DATA.MULTI_LABEL", "does not have"]),
    ],
)
def test_wrong_keys_and_kinds_name_key_value_and_remedy(pairs, words):
    with pytest.raises(ConfigError) as error:
        load_cfg(None, pairs)
    for word in words:
        assert word in str(error.value)


def test_keys_of_pyslowfast_that_leave_a_feature_off_are_accepted(tmp_path):
    text = """
    DETECTION: {ENABLE: False, ALIGNED: True}
    DATA: {DECODING_BACKEND: torchvision}
    TENSORBOARD: {ENABLE: False}
    SOLVER: {CLIP_GRAD_L2NORM: null, LAYER_DECAY: 1.0, BETAS: [0.9, 0.999], LARS_ON: False}
    TEST: {NUM_TEMPORAL_CLIPS: []}
    TASK: ""
    """
    cfg = load_cfg(write(tmp_path, "theirs.yaml", text))
    assert (cfg.MODEL.ARCH, cfg.DATA.DECODING_BACKEND) == ("slowfast", "torchvision")


@pytest.mark.parametrize(
    ("text", "arch", "res4"),
    [
        (
            """
            NONLOCAL:
              LOCATION: [[[]], [[1, 3]], [[1, 3, 5]], [[]]]
              GROUP: [[1], [1], [1], [1]]
              INSTANTIATION: softmax
            MODEL: {ARCH: i3d, MODEL_NAME: ResNet}
            DATA: {INPUT_CHANNEL_NUM: [3]}
            """,
            "i3d",
            [[1, 3, 5]],
        ),
        (
            """
            NONLOCAL:
              LOCATION: [[[], []], [[1, 3], []], [[1, 3, 5], []], [[], []]]
              GROUP: [[1, 1], [1, 1], [1, 1], [1, 1]]
              POOL: [[[1, 2, 2], [1, 2, 2]], [[1, 2, 2], [1, 2, 2]], [[1, 2, 2], [1, 2, 2]], [[1, 2, 2], [1, 2, 2]]]
              INSTANTIATION: dot_product
            """,
            "slowfast",
            [[1, 3, 5], []],
        ),
    ],
)
def test_pyslowfasts_ways_to_ask_for_non_local_blocks_merge(tmp_path, text, arch, res4):
    cfg = load_cfg(write(tmp_path, "theirs.yaml", text))
    assert arch == cfg.MODEL.ARCH and cfg.NONLOCAL.LOCATION[2] == res4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SGS: [1, 2", ["not valid YAML", "line"]),
        ("- 1", ["list", "mapping"]),
        ("_BASE_: nowhere.yaml", ["nowhere.yaml", "broken.yaml", "No such file"]),
        ("_BASE_: 3", ["_BASE_ is 3", "path"]),
        ("_BASE_: broken.yaml", ["_BASE_ is circular"]),
    ],
)
def test_unreadable_files_are_named(tmp_path, text, words):
    path = write(tmp_path, "broken.yaml", text)
    with pytest.raises(ConfigError) as error:
        load_cfg(path)
    for word in words:
        assert word in str(error.value)


def test_one_entry_serves_all_pathways():
    assert per_pathway(load_cfg(None, ["SGS.NUM_BINS", "[4]"]), "SGS.NUM_BINS") == (4, 4)
    assert per_pathway(load_cfg(None, ["SGS.NUM_BINS", "[4, 8]"]), "SGS.NUM_BINS") == (4, 8)
