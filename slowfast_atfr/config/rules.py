"""The values that each key takes by itself, as a table. Rules on several keys are in `validate.py`."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

STAGES = ("conv1", "res2", "res3", "res4")  # that SGS and temporal attention may follow: s1 .. s4
RESIDUAL_STAGES = ("res2", "res3", "res4", "res5")  # s2 .. s5
ALL_STAGES = ("conv1", *RESIDUAL_STAGES)  # s1 .. s5
NORM_TYPES = ("batchnorm", "sync_batchnorm", "sub_batchnorm")
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # RESNET.DEPTH -> blocks of res2 .. res5
ARCHS = ("slowfast", "slow", "c2d", "slow_c2d", "2d", "i3d", "slow_i3d", "x3d", "3dresnet")


class Rule(NamedTuple):
    """Whether a value fits, and what an error says about the values that do."""

    fits: Callable[[Any], bool]
    text: str


def _one_of(*choices: Any) -> Rule:
    return Rule(lambda value: value in choices, f"choose one of {', '.join(map(str, choices))}")


def _at_least(low: int, text: str = "it is at least {}") -> Rule:
    return Rule(lambda value: value >= low, text.format(low))


def _stages(choices: tuple[str, ...]) -> Rule:
    text = f"it is a list out of {', '.join(choices)}, each at most once"
    return Rule(lambda value: set(value) <= set(choices) and len(set(value)) == len(value), text)


def _list_of(length: int, fits: Callable[[Any], bool], text: str) -> Rule:
    return Rule(lambda value: len(value) == length and all(map(fits, value)), text)


def _is_factor(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value <= 1


def _are_factors(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_factor, value))


_ABOVE_0 = Rule(lambda value: value > 0, "it is above 0")
_FROM_0 = Rule(lambda value: 0 <= value < math.inf, "it is a finite number, at least 0")
_PROBABILITY = Rule(lambda value: 0 <= value <= 1, "it is from 0 to 1")
_CHECKPOINT_TYPE = _one_of("pytorch", "caffe2")
_EPOCHS = _at_least(1, "it counts epochs, at least {}")
_OFF_AT_0 = _at_least(0, "it is at least {}, which switches it off")
_CLIP_GRAD = _at_least(0, "it is above 0, or {} for no clipping")

RULES: dict[str, Rule] = {
    "TRAIN.EVAL_PERIOD": _EPOCHS,
    "TRAIN.CHECKPOINT_PERIOD": _EPOCHS,
    "TRAIN.CHECKPOINT_ITERATIONS": _at_least(0, "it counts iterations, or is {}"),
    "TRAIN.CHECKPOINT_TYPE": _CHECKPOINT_TYPE,
    "TRAIN.AMP_DTYPE": _one_of("float16", "bfloat16"),
    "TRAIN.KILL_LOSS_EXPLOSION_FACTOR": Rule(lambda value: value == 0 or value > 1, "it is above 1, or 0 for no limit"),
    "TEST.CHECKPOINT_TYPE": _CHECKPOINT_TYPE,
    "TEST.NUM_ENSEMBLE_VIEWS": _at_least(1),
    "TEST.NUM_SPATIAL_CROPS": _one_of(1, 3),
    "SOLVER.MAX_EPOCH": _at_least(0),
    "SOLVER.OPTIMIZING_METHOD": _one_of("sgd", "adam", "adamw"),
    "SOLVER.GRAD_ACCUM_STEPS": _at_least(1),
    "SOLVER.CLIP_GRAD_VAL": _CLIP_GRAD,
    "SOLVER.CLIP_GRAD_L2NORM": _CLIP_GRAD,
    "SOLVER.EMA_DECAY": Rule(lambda value: 0 <= value < 1, "it is below 1, or 0 for no average"),
    "BN.NORM_TYPE": _one_of(*NORM_TYPES),
    "BN.NUM_BATCHES_PRECISE": _at_least(0),
    "BN.NUM_SYNC_DEVICES": _at_least(1),
    "BN.NUM_SPLITS": _at_least(1),
    "MULTIGRID.BN_BASE_SIZE": _at_least(1),
    "MULTIGRID.EVAL_FREQ": _at_least(1),
    "MULTIGRID.EPOCH_FACTOR": _ABOVE_0,
    "MULTIGRID.SHORT_CYCLE_FACTORS": _list_of(
        2, _is_factor, "it takes two factors of DATA.TRAIN_CROP_SIZE, above 0, at most 1"
    ),
    "MULTIGRID.LONG_CYCLE_FACTORS": Rule(
        lambda value: bool(value) and all(map(_are_factors, value)),
        "it takes pairs of factors, of DATA.NUM_FRAMES and of DATA.TRAIN_CROP_SIZE, above 0, at most 1",
    ),
    "MODEL.ARCH": _one_of(*ARCHS),
    "MODEL.HEAD_ACT": _one_of("softmax", "sigmoid"),
    "MODEL.NUM_CLASSES": _at_least(1),
    "MODEL.DROPOUT_RATE": Rule(lambda value: 0 <= value < 1, "it is a probability below 1"),
    "MODEL.ACT_CHECKPOINT_STAGES": _stages(RESIDUAL_STAGES),
    "MODEL.REPLICATE_PAD_STAGES": _stages(ALL_STAGES),
    "RESNET.DEPTH": _one_of(*BLOCKS),
    "RESNET.TRANS_FUNC": _one_of("bottleneck_transform", "basic_transform", "x3d_transform"),
    "RESNET.NUM_GROUPS": _at_least(1),
    "RESNET.WIDTH_PER_GROUP": _at_least(1),
    "NONLOCAL.INSTANTIATION": _one_of("dot_product", "softmax"),
    "X3D.WIDTH_FACTOR": _ABOVE_0,
    "X3D.DEPTH_FACTOR": _ABOVE_0,
    "X3D.BOTTLENECK_FACTOR": _ABOVE_0,
    "X3D.DIM_C1": _at_least(1),
    "X3D.DIM_C5": _at_least(1),
    "SGS.STAGES": _stages(STAGES),
    "SGS.PATHWAYS": Rule(lambda value: set(value) <= {0, 1}, "it is a list out of 0 (slow), 1 (fast)"),
    "SGS.EMBED_DIM": _at_least(1),
    "SGS.COORDINATES": _one_of("all", "angular", "radial"),
    "SGS.ORDER": _one_of("bin", "time"),
    "SGS.GRAD_SCALE": Rule(math.isfinite, "it is a finite number"),
    "SGS.LR_FACTOR": _FROM_0,
    "SGS.BATCHING": _one_of("packed", "padded"),
    "SGS.PACK_MULTIPLE": _at_least(1),
    "SGS.GROUPING": _one_of("bins", "segments"),
    "SGS.SIZE_PENALTY": _FROM_0,
    "SGS.FEATURES": _one_of("mean", "grid"),
    "SGS.SEGMENT_LOSS": _one_of("variance", "motion"),
    "SGS.SEGMENT_MAP": _one_of("mean", "middle", "overlap"),
    "SGS.FUSION_PAD": _one_of("center", "end"),
    "TEMPORAL_ATTENTION.STAGES": _stages(STAGES),
    "TEMPORAL_ATTENTION.KIND": _one_of("gate", "residual"),
    "TEMPORAL_ATTENTION.NUM_DESCRIPTORS": _at_least(0, "it is at least 1, or {} for a quarter of the channels"),
    "DATA.SPLIT": _at_least(1),
    "DATA.PATH_LABEL_SEPARATOR": Rule(bool, "it is the text between path and label"),
    "DATA.DECODING_BACKEND": _one_of("pyav", "torchcodec", "torchvision"),
    "DATA.NUM_FRAMES": _at_least(1),
    "DATA.SAMPLING_RATE": _at_least(1),
    "DATA.TARGET_FPS": _at_least(1),
    "DATA.MEAN": Rule(lambda value: len(value) == 3, "it takes a number each for R, G, B"),
    "DATA.STD": _list_of(3, lambda entry: entry > 0, "it takes a number each for R, G, B, above 0"),
    "DATA.TRAIN_CROP_SIZE": _at_least(1),
    "DATA.TEST_CROP_SIZE": _at_least(1),
    "DATA.ENSEMBLE_METHOD": _one_of("sum", "max"),
    "DATA_LOADER.NUM_WORKERS": _at_least(0),
    "AUG.NUM_SAMPLE": _at_least(1),
    "AUG.COLOR_JITTER": Rule(_PROBABILITY.fits, "it is a share, from 0 to 1"),
    "AUG.INTERPOLATION": _one_of("bilinear", "bicubic", "random"),
    "AUG.RE_PROB": _PROBABILITY,
    "AUG.RE_MODE": _one_of("pixel", "rand", "const"),
    "AUG.RE_COUNT": _at_least(1, "it is at least {}; AUG.RE_PROB 0.0 erases nothing"),
    "AUG.RE_SPLIT": Rule(lambda value: not value, "PySlowFast never reads it; choose False"),
    "MIXUP.ALPHA": _OFF_AT_0,
    "MIXUP.CUTMIX_ALPHA": _OFF_AT_0,
    "MIXUP.PROB": _PROBABILITY,
    "MIXUP.SWITCH_PROB": _PROBABILITY,
    "MIXUP.LABEL_SMOOTH_VALUE": _PROBABILITY,
    "NUM_GPUS": _at_least(0, "it is {} for the CPU, or the number of GPUs of this machine"),
    "NUM_SHARDS": _at_least(1, "it is the number of machines, at least {}"),
    "DIST_BACKEND": _one_of("nccl", "gloo"),
    "DIST_TIMEOUT": Rule(lambda value: value > 0, "it is in minutes, above 0"),
    "RNG_SEED": _at_least(0),
    "LOG_PERIOD": _at_least(1, "it counts iterations, at least {}"),
}
