"""The one place that says which values fit together. What registries know is checked by `rooms.py`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config.augmentation import validate_augmentation
from slowfast_atfr.config.errors import fail_unless as _fail_unless

_ONE_PATHWAY = ("slow", "c2d", "slow_c2d", "2d", "i3d", "slow_i3d", "x3d", "3dresnet")
STAGES = ("conv1", "res2", "res3", "res4")  # that SGS and temporal attention may stand behind: s1 .. s4
RESIDUAL_STAGES = ("res2", "res3", "res4", "res5")  # s2 .. s5
ALL_STAGES = ("conv1", *RESIDUAL_STAGES)  # s1 .. s5
NORM_TYPES = ("batchnorm", "sync_batchnorm", "sub_batchnorm")
PATHWAY_NAMES = ("slow", "fast")
PATHWAYS = {"slowfast": 2} | dict.fromkeys(_ONE_PATHWAY, 1)  # of each MODEL.ARCH
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # RESNET.DEPTH -> blocks of res2 .. res5
MAX_BINS = 2**24  # beyond, float32 does not tell one bin from the next


def num_pathways(cfg: CfgNode) -> int:
    """Pathways of the network that MODEL.ARCH names."""
    return PATHWAYS[cfg.MODEL.ARCH]


def per_pathway(cfg: CfgNode, key: str) -> tuple[Any, ...]:
    """The entries of a per-pathway list such as SGS.NUM_BINS, one for each pathway; a single entry serves all."""
    section, leaf = key.split(".")
    values, pathways = cfg[section][leaf], num_pathways(cfg)
    return tuple(values) * pathways if len(values) == 1 else tuple(values)


def validate(cfg: CfgNode) -> None:
    """Check every rule that concerns a value or several keys together.

    Raises:
        ConfigError: naming the key, the value and the choices.
    """
    _choices(cfg)
    _network(cfg)
    _nonlocal(cfg)
    _sgs(cfg)
    _temporal_attention(cfg)
    _data(cfg)
    validate_augmentation(cfg)
    _run(cfg)
    _multigrid(cfg)


def _one_of(cfg: CfgNode, key: str, choices: Sequence[Any]) -> None:
    node = cfg
    for part in key.split("."):
        node = node[part]
    _fail_unless(node in choices, key, node, f"choose one of {', '.join(map(str, choices))}")


def _choices(cfg: CfgNode) -> None:
    _one_of(cfg, "MODEL.ARCH", tuple(PATHWAYS))
    _one_of(cfg, "MODEL.HEAD_ACT", ("softmax", "sigmoid"))
    _one_of(cfg, "RESNET.DEPTH", tuple(BLOCKS))
    _one_of(cfg, "RESNET.TRANS_FUNC", ("bottleneck_transform", "basic_transform", "x3d_transform"))
    _one_of(cfg, "NONLOCAL.INSTANTIATION", ("dot_product", "softmax"))
    _one_of(cfg, "BN.NORM_TYPE", NORM_TYPES)
    _one_of(cfg, "SOLVER.OPTIMIZING_METHOD", ("sgd", "adam", "adamw"))
    _one_of(cfg, "TRAIN.AMP_DTYPE", ("float16", "bfloat16"))
    _one_of(cfg, "TEMPORAL_ATTENTION.KIND", ("gate", "residual"))
    _one_of(cfg, "SGS.ORDER", ("bin", "time"))
    _one_of(cfg, "SGS.COORDINATES", ("all", "angular", "radial"))
    _one_of(cfg, "SGS.BATCHING", ("packed", "padded"))
    _one_of(cfg, "SGS.FUSION_PAD", ("center", "end"))
    _one_of(cfg, "SGS.GROUPING", ("bins", "segments"))
    _one_of(cfg, "SGS.FEATURES", ("mean", "grid"))
    _one_of(cfg, "DATA.DECODING_BACKEND", ("pyav", "torchcodec", "torchvision"))
    _one_of(cfg, "DATA.ENSEMBLE_METHOD", ("sum", "max"))
    _one_of(cfg, "TRAIN.CHECKPOINT_TYPE", ("pytorch", "caffe2"))
    _one_of(cfg, "TEST.CHECKPOINT_TYPE", ("pytorch", "caffe2"))
    _one_of(cfg, "TEST.NUM_SPATIAL_CROPS", (1, 3))
    _one_of(cfg, "DIST_BACKEND", ("nccl", "gloo"))


def _network(cfg: CfgNode) -> None:
    pathways = num_pathways(cfg)
    for leaf in ("NUM_BLOCK_TEMP_KERNEL", "SPATIAL_STRIDES", "SPATIAL_DILATIONS"):
        value = cfg.RESNET[leaf]
        fits = len(value) == 4 and all(isinstance(stage, list) and len(stage) in (1, pathways) for stage in value)
        rule = f"it takes four stages, each a list of one entry or of one per pathway ({pathways} for {cfg.MODEL.ARCH})"
        _fail_unless(fits, f"RESNET.{leaf}", value, rule)
    groups, width = cfg.RESNET.NUM_GROUPS, cfg.RESNET.WIDTH_PER_GROUP
    _fail_unless(groups >= 1, "RESNET.NUM_GROUPS", groups, "it is at least 1")
    divisor = {"slowfast": cfg.SLOWFAST.BETA_INV, "3dresnet": 8}.get(cfg.MODEL.ARCH, 1)
    _fail_unless(divisor >= 1, "SLOWFAST.BETA_INV", divisor, "it is at least 1")
    rule = f"with {cfg.MODEL.ARCH} it is a multiple of {divisor}, so that the thinnest layers have whole channels"
    _fail_unless(width >= 1 and width * groups % divisor == 0, "RESNET.WIDTH_PER_GROUP", width, rule)
    transform = cfg.RESNET.TRANS_FUNC
    rule = f"x3d_transform goes with MODEL.ARCH x3d, the others with the rest, but MODEL.ARCH is {cfg.MODEL.ARCH!r}"
    _fail_unless((transform == "x3d_transform") == (cfg.MODEL.ARCH == "x3d"), "RESNET.TRANS_FUNC", transform, rule)
    strided = cfg.RESNET.STRIDE_1X1
    rule = "PySlowFast passes over it where MODEL.ARCH is slowfast; False is the network that it builds"
    _fail_unless(not strided or cfg.MODEL.ARCH != "slowfast", "RESNET.STRIDE_1X1", strided, rule)
    grouped = transform == "basic_transform" and groups > 1
    rule = "basic_transform has no groups; choose 1, which is the network that PySlowFast builds"
    _fail_unless(not grouped, "RESNET.NUM_GROUPS", groups, rule)
    for leaf in ("WIDTH_FACTOR", "DEPTH_FACTOR", "BOTTLENECK_FACTOR"):
        _fail_unless(cfg.X3D[leaf] > 0, f"X3D.{leaf}", cfg.X3D[leaf], "it is above 0")
    for leaf in ("DIM_C1", "DIM_C5"):
        _fail_unless(cfg.X3D[leaf] >= 1, f"X3D.{leaf}", cfg.X3D[leaf], "it is at least 1")
    _fail_unless(cfg.MODEL.NUM_CLASSES >= 1, "MODEL.NUM_CLASSES", cfg.MODEL.NUM_CLASSES, "it is at least 1")
    rate = cfg.MODEL.DROPOUT_RATE
    _fail_unless(0 <= rate < 1, "MODEL.DROPOUT_RATE", rate, "it is a probability below 1")
    again, key = cfg.MODEL.ACT_CHECKPOINT_STAGES, "MODEL.ACT_CHECKPOINT_STAGES"
    _stage_list(key, again, RESIDUAL_STAGES)
    _fail_unless(again or not cfg.MODEL.ACT_CHECKPOINT, key, again, "MODEL.ACT_CHECKPOINT is True, so name a stage")
    _stage_list("MODEL.REPLICATE_PAD_STAGES", cfg.MODEL.REPLICATE_PAD_STAGES, ALL_STAGES)
    norm, compiled = cfg.BN.NORM_TYPE, cfg.MODEL.COMPILE
    rule = f"it goes with BN.NORM_TYPE batchnorm, the norm that torch can compile; that is {norm!r}"
    _fail_unless(not compiled or norm == "batchnorm", "MODEL.COMPILE", compiled, rule)
    rule = "MULTIGRID.LONG_CYCLE changes norms as it goes, which torch cannot compile; choose one of the two"
    _fail_unless(not (compiled and cfg.MULTIGRID.LONG_CYCLE), "MODEL.COMPILE", compiled, rule)
    channels = cfg.DATA.INPUT_CHANNEL_NUM
    rule = f"frames have 3 channels, one entry for each pathway of {cfg.MODEL.ARCH}: {[3] * pathways}"
    _fail_unless(channels == [3] * pathways, "DATA.INPUT_CHANNEL_NUM", channels, rule)
    if cfg.MODEL.ARCH == "slowfast":
        alpha, frames = cfg.SLOWFAST.ALPHA, cfg.DATA.NUM_FRAMES
        rule = f"it divides DATA.NUM_FRAMES, which is {frames}"
        _fail_unless(alpha >= 1 and frames % alpha == 0, "SLOWFAST.ALPHA", alpha, rule)
        kernel = cfg.SLOWFAST.FUSION_KERNEL_SZ
        _fail_unless(kernel % 2 == 1, "SLOWFAST.FUSION_KERNEL_SZ", kernel, "it is odd")


def _stage_list(key: str, stages: list[str], choices: Sequence[str]) -> None:
    _fail_unless(set(stages) <= set(choices), key, stages, f"it is a list out of {', '.join(choices)}")
    _fail_unless(len(set(stages)) == len(stages), key, stages, "a stage stands in it once")


def _nonlocal(cfg: CfgNode) -> None:
    pathways, arch, blocks = num_pathways(cfg), cfg.MODEL.ARCH, BLOCKS[cfg.RESNET.DEPTH]

    def check(leaf: str, sizes: tuple[int, ...], fits: Callable[[Any], bool], entry: str) -> None:
        value = cfg.NONLOCAL[leaf]
        holds = len(value) == 4 and all(isinstance(stage, list) and len(stage) in sizes for stage in value)
        holds = holds and all(fits(entry) for stage in value for entry in stage)
        rule = f"it takes four stages, each a list of one entry or of one per pathway ({pathways} for {arch}); {entry}"
        _fail_unless(holds, f"NONLOCAL.{leaf}", value, rule)

    check("LOCATION", (1, pathways), lambda entry: _whole(entry, low=0), "an entry is a list of blocks, from 0")
    check("GROUP", (1, pathways), lambda entry: _whole([entry], low=1), "an entry is a whole number, at least 1")
    sizes = "an entry is three sizes, (T, H, W), at least 1"
    check("POOL", (1, 2), lambda entry: _whole(entry, low=1) and len(entry) == 3, sizes)  # the default has 2 for all
    location = cfg.NONLOCAL.LOCATION
    for stage, (entries, count) in enumerate(zip(location, blocks, strict=True), start=2):
        rule = f"res{stage} of depth {cfg.RESNET.DEPTH} has the blocks 0 to {count - 1}"
        _fail_unless(all(index < count for entry in entries for index in entry), "NONLOCAL.LOCATION", location, rule)
    nowhere = not any(entry for entries in location for entry in entries)
    _fail_unless(nowhere or arch != "x3d", "NONLOCAL.LOCATION", location, "x3d has no non-local blocks; leave it empty")


def _whole(entry: Any, *, low: int) -> bool:
    """Whether it is a list of whole numbers from `low` on."""
    return isinstance(entry, list) and all(type(number) is int and number >= low for number in entry)


def _sgs(cfg: CfgNode) -> None:
    pathways, sgs = num_pathways(cfg), cfg.SGS
    _stages(cfg, "SGS")
    _fail_unless(set(sgs.PATHWAYS) <= {0, 1}, "SGS.PATHWAYS", sgs.PATHWAYS, "it is a list out of 0 (slow), 1 (fast)")
    sampled = [p for p in sgs.PATHWAYS if p < pathways]
    rule = f"none of them is a pathway of {cfg.MODEL.ARCH}, which has {pathways}"
    _fail_unless(not sgs.ENABLE or sampled, "SGS.PATHWAYS", sgs.PATHWAYS, rule)
    for leaf, low, may_be_empty in (("NUM_BINS", -1, False), ("TEST_NUM_BINS", -1, True), ("BLOCK_SIZE", 0, False)):
        value = sgs[leaf]
        sizes = (1, pathways, 0) if may_be_empty else (1, pathways)
        rule = f"it takes one entry, or one for each of the {pathways} pathway(s) of {cfg.MODEL.ARCH} (slow, fast)"
        _fail_unless(len(value) in sizes, f"SGS.{leaf}", value, rule)
        fits = all(type(entry) is int and low <= entry <= MAX_BINS and (entry != 0 or low == 0) for entry in value)
        rule = f"entries are whole numbers from 1 to {MAX_BINS}, or "
        rule += "-1 for the block's length" if low else "0 for the whole clip"
        _fail_unless(fits, f"SGS.{leaf}", value, rule)
    _fail_unless(sgs.EMBED_DIM >= 1, "SGS.EMBED_DIM", sgs.EMBED_DIM, "it is at least 1")
    spherical = sgs.SIMILARITY == "spherical"
    rule = "only the similarity spherical has angles and a radius; choose all, or SGS.SIMILARITY spherical"
    _fail_unless(spherical or sgs.COORDINATES == "all", "SGS.COORDINATES", sgs.COORDINATES, rule)
    angles = spherical and sgs.COORDINATES != "radial"
    rule = "spherical coordinates have angles from 2 dimensions on; choose at least 2, or SGS.COORDINATES radial"
    _fail_unless(sgs.EMBED_DIM >= 2 or not angles, "SGS.EMBED_DIM", sgs.EMBED_DIM, rule)
    _fail_unless(math.isfinite(sgs.GRAD_SCALE), "SGS.GRAD_SCALE", sgs.GRAD_SCALE, "it is a finite number")
    _fail_unless(0 <= sgs.LR_FACTOR < math.inf, "SGS.LR_FACTOR", sgs.LR_FACTOR, "it is a number from 0 on")
    _fail_unless(sgs.PACK_MULTIPLE >= 1, "SGS.PACK_MULTIPLE", sgs.PACK_MULTIPLE, "it is at least 1")
    _segments(cfg)


def _segments(cfg: CfgNode) -> None:
    """Rules on SGS.GROUPING segments and on sizes of maps."""
    pathways, sgs = num_pathways(cfg), cfg.SGS
    segments = sgs.GROUPING == "segments"
    for leaf in ("TARGET_MAPS", "TEST_TARGET_MAPS"):
        value = sgs[leaf]
        rule = f"it is empty, or takes one entry, or one for each of the {pathways} pathway(s) (slow, fast)"
        _fail_unless(len(value) in (0, 1, pathways), f"SGS.{leaf}", value, rule)
        fits = all(type(entry) in (int, float) and 1 <= entry < math.inf for entry in value)
        _fail_unless(fits, f"SGS.{leaf}", value, "entries are numbers from 1 on")
    for bins, target in (("NUM_BINS", "TARGET_MAPS"), ("TEST_NUM_BINS", "TEST_TARGET_MAPS")):
        both_set = sgs[target] and set(sgs[bins]) - {-1}
        rule = f"SGS.{target} {sgs[target]} chooses each clip's number; choose [-1], or leave the target empty"
        _fail_unless(not both_set, f"SGS.{bins}", sgs[bins], rule)
    own = {
        "TARGET_MAPS": bool(sgs.TARGET_MAPS),
        "TEST_TARGET_MAPS": bool(sgs.TEST_TARGET_MAPS),
        "SIZE_PENALTY": sgs.SIZE_PENALTY != 0,
        "FEATURES": sgs.FEATURES != "mean",
        "ALIGN_PATHWAYS": sgs.ALIGN_PATHWAYS,
    }
    for leaf, is_set in own.items():
        _fail_unless(segments or not is_set, f"SGS.{leaf}", sgs[leaf], "it is read where SGS.GROUPING is segments")
    _fail_unless(0 <= sgs.SIZE_PENALTY < math.inf, "SGS.SIZE_PENALTY", sgs.SIZE_PENALTY, "it is a number from 0 on")
    both = pathways == 2 and {0, 1} <= set(sgs.PATHWAYS)
    rule = f"it takes a network of two pathways, both of them in SGS.PATHWAYS; {cfg.MODEL.ARCH} has {pathways}"
    _fail_unless(both or not sgs.ALIGN_PATHWAYS, "SGS.ALIGN_PATHWAYS", sgs.ALIGN_PATHWAYS, rule)
    if sgs.ALIGN_PATHWAYS:
        slow, fast = per_pathway(cfg, "SGS.BLOCK_SIZE")
        rule = "with SGS.ALIGN_PATHWAYS the fast pathway's is SLOWFAST.ALPHA times the slow one's, which decides"
        _fail_unless(fast == cfg.SLOWFAST.ALPHA * slow, "SGS.BLOCK_SIZE", sgs.BLOCK_SIZE, rule)
        for leaf in ("NUM_BINS", "TEST_NUM_BINS", "TARGET_MAPS", "TEST_TARGET_MAPS"):
            rule = "with SGS.ALIGN_PATHWAYS the slow pathway's number decides; give one entry"
            _fail_unless(len(set(sgs[leaf])) <= 1, f"SGS.{leaf}", sgs[leaf], rule)
    _weighted_head(cfg)


def _weighted_head(cfg: CfgNode) -> None:
    """The head knows the sizes of maps only if no layer after SGS changes the number of maps."""
    sgs = cfg.SGS
    if not (sgs.ENABLE and sgs.WEIGHTED_HEAD):
        return
    rule = "padded clips have maps of no frames; choose False, or SGS.BATCHING packed"
    _fail_unless(sgs.BATCHING == "packed", "SGS.WEIGHTED_HEAD", True, rule)
    rule = "lateral fusion may pad the slow pathway; choose False, or SGS.ALIGN_PATHWAYS True, or SGS.PATHWAYS [1]"
    padded = num_pathways(cfg) == 2 and 0 in sgs.PATHWAYS and not sgs.ALIGN_PATHWAYS
    _fail_unless(not padded, "SGS.WEIGHTED_HEAD", True, rule)
    pooled = cfg.MODEL.ARCH in ("c2d", "i3d") and "conv1" in sgs.STAGES
    rule = f"{cfg.MODEL.ARCH} pools maps after res2; choose False, or SGS.STAGES from res2 on"
    _fail_unless(not pooled, "SGS.WEIGHTED_HEAD", True, rule)


def _temporal_attention(cfg: CfgNode) -> None:
    _stages(cfg, "TEMPORAL_ATTENTION")
    descriptors = cfg.TEMPORAL_ATTENTION.NUM_DESCRIPTORS
    rule = "it is at least 1, or 0 for a quarter of the channels"
    _fail_unless(descriptors >= 0, "TEMPORAL_ATTENTION.NUM_DESCRIPTORS", descriptors, rule)


def _stages(cfg: CfgNode, section: str) -> None:
    """The stages that something of ours stands after, where it is enabled."""
    key, stages = f"{section}.STAGES", cfg[section].STAGES
    _stage_list(key, stages, STAGES)
    _fail_unless(not cfg[section].ENABLE or stages, key, stages, f"{section}.ENABLE is True, so name a stage")


def _data(cfg: CfgNode) -> None:
    pools = cfg.MODEL.ARCH in ("c2d", "i3d")
    rule = f"{cfg.MODEL.ARCH} makes one frame of two behind res2, so it is at least 2"
    _fail_unless(cfg.DATA.NUM_FRAMES >= 2 or not pools, "DATA.NUM_FRAMES", cfg.DATA.NUM_FRAMES, rule)
    for leaf in ("NUM_FRAMES", "SAMPLING_RATE", "TARGET_FPS", "TRAIN_CROP_SIZE", "TEST_CROP_SIZE", "SPLIT"):
        _fail_unless(cfg.DATA[leaf] >= 1, f"DATA.{leaf}", cfg.DATA[leaf], "it is at least 1")
    for leaf in ("MEAN", "STD"):
        _fail_unless(len(cfg.DATA[leaf]) == 3, f"DATA.{leaf}", cfg.DATA[leaf], "it takes a number each for R, G, B")
    _fail_unless(min(cfg.DATA.STD) > 0, "DATA.STD", cfg.DATA.STD, "its entries are above 0")
    scales = cfg.DATA.TRAIN_JITTER_SCALES
    fits = len(scales) == 2 and cfg.DATA.TRAIN_CROP_SIZE <= scales[0] <= scales[1]
    rule = f"it takes [shortest, longest] short side, both at least DATA.TRAIN_CROP_SIZE ({cfg.DATA.TRAIN_CROP_SIZE})"
    _fail_unless(fits, "DATA.TRAIN_JITTER_SCALES", scales, rule)
    separator = cfg.DATA.PATH_LABEL_SEPARATOR
    _fail_unless(separator != "", "DATA.PATH_LABEL_SEPARATOR", separator, "it is what stands between path and label")


def _run(cfg: CfgNode) -> None:
    _fail_unless(cfg.NUM_GPUS >= 0, "NUM_GPUS", cfg.NUM_GPUS, "it is 0 for the CPU, or the GPUs of this machine")
    _fail_unless(cfg.NUM_SHARDS >= 1, "NUM_SHARDS", cfg.NUM_SHARDS, "it is the number of machines, at least 1")
    rule = f"it is the index of this machine, from 0 to NUM_SHARDS - 1 = {cfg.NUM_SHARDS - 1}"
    _fail_unless(0 <= cfg.SHARD_ID < cfg.NUM_SHARDS, "SHARD_ID", cfg.SHARD_ID, rule)
    _fail_unless(cfg.DIST_TIMEOUT > 0, "DIST_TIMEOUT", cfg.DIST_TIMEOUT, "it is in minutes, above 0")
    processes = max(1, cfg.NUM_GPUS)
    for section in ("TRAIN", "TEST"):
        batch = cfg[section].BATCH_SIZE
        rule = (
            f"the {processes} process(es) of a machine (NUM_GPUS) share it evenly, so it is a multiple of {processes}"
        )
        _fail_unless(batch >= 1 and batch % processes == 0, f"{section}.BATCH_SIZE", batch, rule)
    for key in ("EVAL_PERIOD", "CHECKPOINT_PERIOD"):
        _fail_unless(cfg.TRAIN[key] >= 1, f"TRAIN.{key}", cfg.TRAIN[key], "it counts epochs, at least 1")
    views = cfg.TEST.NUM_ENSEMBLE_VIEWS
    _fail_unless(views >= 1, "TEST.NUM_ENSEMBLE_VIEWS", views, "it is at least 1")
    lowest = {"DATA_LOADER.NUM_WORKERS": 0, "BN.NUM_BATCHES_PRECISE": 0, "BN.NUM_SYNC_DEVICES": 1, "BN.NUM_SPLITS": 1}
    for key, low in lowest.items():
        section, leaf = key.split(".")
        _fail_unless(cfg[section][leaf] >= low, key, cfg[section][leaf], f"it is at least {low}")
    batches = cfg.BN.NUM_BATCHES_PRECISE
    rule = "it is at least 1 with BN.USE_PRECISE_STATS"
    _fail_unless(batches >= 1 or not cfg.BN.USE_PRECISE_STATS, "BN.NUM_BATCHES_PRECISE", batches, rule)
    _fail_unless(cfg.RNG_SEED >= 0, "RNG_SEED", cfg.RNG_SEED, "it is at least 0")
    _fail_unless(cfg.LOG_PERIOD >= 1, "LOG_PERIOD", cfg.LOG_PERIOD, "it counts iterations, at least 1")
    _solver(cfg)


def _solver(cfg: CfgNode) -> None:
    solver = cfg.SOLVER
    factor = cfg.TRAIN.KILL_LOSS_EXPLOSION_FACTOR
    rule = "it is above 1, or 0 to let a run go on whatever its loss"
    _fail_unless(factor == 0 or factor > 1, "TRAIN.KILL_LOSS_EXPLOSION_FACTOR", factor, rule)
    every = cfg.TRAIN.CHECKPOINT_ITERATIONS
    _fail_unless(every >= 0, "TRAIN.CHECKPOINT_ITERATIONS", every, "it counts iterations, or is 0")
    _fail_unless(solver.GRAD_ACCUM_STEPS >= 1, "SOLVER.GRAD_ACCUM_STEPS", solver.GRAD_ACCUM_STEPS, "it is at least 1")
    for leaf in ("CLIP_GRAD_VAL", "CLIP_GRAD_L2NORM"):
        _fail_unless(solver[leaf] >= 0, f"SOLVER.{leaf}", solver[leaf], "it is above 0, or 0 to clip nothing")
    _fail_unless(0 <= solver.EMA_DECAY < 1, "SOLVER.EMA_DECAY", solver.EMA_DECAY, "it is below 1, or 0 for no average")
    _fail_unless(solver.MAX_EPOCH >= 0, "SOLVER.MAX_EPOCH", solver.MAX_EPOCH, "it is at least 0")
    if solver.LR_POLICY == "steps_with_relative_lrs":
        rule = "with steps_with_relative_lrs it lists increasing epochs that begin with 0"
        increasing = all(a < b for a, b in zip(solver.STEPS, solver.STEPS[1:], strict=False))
        _fail_unless(bool(solver.STEPS) and solver.STEPS[0] == 0 and increasing, "SOLVER.STEPS", solver.STEPS, rule)
        rule = f"it needs a factor of BASE_LR for each of the {len(solver.STEPS)} SOLVER.STEPS"
        _fail_unless(len(solver.LRS) >= len(solver.STEPS), "SOLVER.LRS", solver.LRS, rule)


def _multigrid(cfg: CfgNode) -> None:
    multigrid, solver = cfg.MULTIGRID, cfg.SOLVER
    for leaf in ("BN_BASE_SIZE", "EVAL_FREQ"):
        _fail_unless(multigrid[leaf] >= 1, f"MULTIGRID.{leaf}", multigrid[leaf], "it is at least 1")
    _fail_unless(multigrid.EPOCH_FACTOR > 0, "MULTIGRID.EPOCH_FACTOR", multigrid.EPOCH_FACTOR, "it is above 0")
    factors = multigrid.SHORT_CYCLE_FACTORS
    rule = "it takes two factors of DATA.TRAIN_CROP_SIZE, above 0, at most 1"
    _fail_unless(len(factors) == 2 and all(map(_fraction, factors)), "MULTIGRID.SHORT_CYCLE_FACTORS", factors, rule)
    shapes = multigrid.LONG_CYCLE_FACTORS
    rule = "it takes pairs of factors, of DATA.NUM_FRAMES and of DATA.TRAIN_CROP_SIZE, above 0, at most 1"
    fits = shapes and all(isinstance(pair, list) and len(pair) == 2 and all(map(_fraction, pair)) for pair in shapes)
    _fail_unless(fits, "MULTIGRID.LONG_CYCLE_FACTORS", shapes, rule)
    if not multigrid.LONG_CYCLE:
        return
    rule = "with MULTIGRID.LONG_CYCLE, which sets the learning rate's steps, it is steps_with_relative_lrs"
    _fail_unless(solver.LR_POLICY == "steps_with_relative_lrs", "SOLVER.LR_POLICY", solver.LR_POLICY, rule)
    rule = "with MULTIGRID.LONG_CYCLE it has at least two epochs, the last of them below SOLVER.MAX_EPOCH"
    fits = len(solver.STEPS) >= 2 and solver.STEPS[-1] < solver.MAX_EPOCH
    _fail_unless(fits, "SOLVER.STEPS", solver.STEPS, rule)
    frames, alpha = cfg.DATA.NUM_FRAMES, cfg.SLOWFAST.ALPHA if cfg.MODEL.ARCH == "slowfast" else 1
    lengths = [round(frames * pair[0]) for pair in shapes]
    rule = f"clips of {frames} frames (DATA.NUM_FRAMES) become {lengths} long, all multiples of SLOWFAST.ALPHA, {alpha}"
    fits = all(length >= 1 and length % alpha == 0 for length in lengths)
    _fail_unless(fits, "MULTIGRID.LONG_CYCLE_FACTORS", shapes, rule)


def _fraction(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 < value <= 1
