"""Check a config: the values of single keys by the table in `rules.py`, and here which values fit together.

What only a registry knows is checked by `rooms.py`.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config.augmentation import augmentation_rules
from slowfast_atfr.config.errors import fail_unless
from slowfast_atfr.config.rules import BLOCKS, RULES

PATHWAY_NAMES = ("slow", "fast")
MAX_BINS = 2**24  # float32 cannot number more bins exactly
Checks = Iterator[tuple[str, bool, str]]  # a key, whether its value fits, and the rule


def num_pathways(cfg: CfgNode) -> int:
    """Return the number of pathways of the network that MODEL.ARCH names."""
    return 2 if cfg.MODEL.ARCH == "slowfast" else 1


def per_pathway(cfg: CfgNode, key: str) -> tuple[Any, ...]:
    """Return a per-pathway list such as SGS.NUM_BINS with one entry for each pathway; a single entry serves all."""
    values = value_of(cfg, key)
    return tuple(values) * num_pathways(cfg) if len(values) == 1 else tuple(values)


def value_of(cfg: CfgNode, key: str) -> Any:
    """Return the value of a dotted key."""
    value = cfg
    for part in key.split("."):
        value = value[part]
    return value


def validate(cfg: CfgNode) -> None:
    """Check every rule on one key or several.

    Raises:
        ConfigError: naming the key, the value and the rule.
    """
    for key, rule in RULES.items():
        value = value_of(cfg, key)
        fail_unless(rule.fits(value), key, value, rule.text)
    for checks in (_network, _nonlocal, _sgs, _segments, _weighted_head, _data, augmentation_rules, _run, _multigrid):
        for key, fits, text in checks(cfg):
            fail_unless(fits, key, value_of(cfg, key), text)


def _network(cfg: CfgNode) -> Checks:
    pathways, arch, resnet = num_pathways(cfg), cfg.MODEL.ARCH, cfg.RESNET
    text = _per_stage_text(cfg)
    for leaf in ("NUM_BLOCK_TEMP_KERNEL", "SPATIAL_STRIDES", "SPATIAL_DILATIONS"):
        yield f"RESNET.{leaf}", _is_per_stage(resnet[leaf], (1, pathways)), text
    divisor = {"slowfast": cfg.SLOWFAST.BETA_INV, "3dresnet": 8}.get(arch, 1)
    yield "SLOWFAST.BETA_INV", divisor >= 1, "it is at least 1"
    text = f"with {arch} it is a multiple of {divisor}, so that the thinnest layers have whole channels"
    yield "RESNET.WIDTH_PER_GROUP", resnet.WIDTH_PER_GROUP * resnet.NUM_GROUPS % divisor == 0, text
    text = f"x3d_transform goes with MODEL.ARCH x3d, the others with the rest, but MODEL.ARCH is {arch!r}"
    yield "RESNET.TRANS_FUNC", (resnet.TRANS_FUNC == "x3d_transform") == (arch == "x3d"), text
    text = "PySlowFast ignores it where MODEL.ARCH is slowfast; False is the network that it builds"
    yield "RESNET.STRIDE_1X1", not resnet.STRIDE_1X1 or arch != "slowfast", text
    text = "basic_transform has no groups; choose 1, which is the network that PySlowFast builds"
    yield "RESNET.NUM_GROUPS", resnet.TRANS_FUNC != "basic_transform" or resnet.NUM_GROUPS == 1, text
    named = bool(cfg.MODEL.ACT_CHECKPOINT_STAGES) or not cfg.MODEL.ACT_CHECKPOINT
    yield "MODEL.ACT_CHECKPOINT_STAGES", named, "MODEL.ACT_CHECKPOINT is True, so name a stage"
    for section in ("SGS", "TEMPORAL_ATTENTION"):
        named = bool(cfg[section].STAGES) or not cfg[section].ENABLE
        yield f"{section}.STAGES", named, f"{section}.ENABLE is True, so name a stage"
    text = f"it goes with BN.NORM_TYPE batchnorm, the norm that torch can compile, not with {cfg.BN.NORM_TYPE!r}"
    yield "MODEL.COMPILE", not cfg.MODEL.COMPILE or cfg.BN.NORM_TYPE == "batchnorm", text
    text = "MULTIGRID.LONG_CYCLE changes norms during the run, which torch cannot compile; choose one of the two"
    yield "MODEL.COMPILE", not (cfg.MODEL.COMPILE and cfg.MULTIGRID.LONG_CYCLE), text
    text = f"frames have 3 channels, one entry for each pathway of {arch}: {[3] * pathways}"
    yield "DATA.INPUT_CHANNEL_NUM", [3] * pathways == cfg.DATA.INPUT_CHANNEL_NUM, text
    if arch == "slowfast":
        alpha, frames = cfg.SLOWFAST.ALPHA, cfg.DATA.NUM_FRAMES
        yield "SLOWFAST.ALPHA", alpha >= 1 and frames % alpha == 0, f"it divides DATA.NUM_FRAMES, which is {frames}"
        yield "SLOWFAST.FUSION_KERNEL_SZ", cfg.SLOWFAST.FUSION_KERNEL_SZ % 2 == 1, "it is odd"


def _per_stage_text(cfg: CfgNode) -> str:
    pathways = num_pathways(cfg)
    return f"it takes four stages, each a list of one entry or of one per pathway ({pathways} for {cfg.MODEL.ARCH})"


def _is_per_stage(value: Any, sizes: tuple[int, ...], fits: Callable[[Any], bool] = lambda entry: True) -> bool:
    """Whether it is a list of four stages, each a list of as many fitting entries as one of `sizes`."""
    stages = len(value) == 4 and all(isinstance(stage, list) and len(stage) in sizes for stage in value)
    return stages and all(fits(entry) for stage in value for entry in stage)


def _nonlocal(cfg: CfgNode) -> Checks:
    pathways, arch, depth = num_pathways(cfg), cfg.MODEL.ARCH, cfg.RESNET.DEPTH
    lists = {  # key: entries of a stage, whether an entry fits, rule
        "LOCATION": ((1, pathways), lambda entry: _is_whole(entry, low=0), "an entry is a list of blocks, from 0"),
        "GROUP": ((1, pathways), lambda entry: _is_whole([entry], low=1), "an entry is a whole number, at least 1"),
        "POOL": (  # the default has 2 entries for all networks
            (1, 2),
            lambda entry: _is_whole(entry, low=1) and len(entry) == 3,
            "an entry is three sizes, (T, H, W), at least 1",
        ),
    }
    text = _per_stage_text(cfg)
    for leaf, (sizes, fits, entry) in lists.items():
        yield f"NONLOCAL.{leaf}", _is_per_stage(cfg.NONLOCAL[leaf], sizes, fits), f"{text}; {entry}"
    location = cfg.NONLOCAL.LOCATION
    for stage, (entries, count) in enumerate(zip(location, BLOCKS[depth], strict=True), start=2):
        text = f"res{stage} of depth {depth} has the blocks 0 to {count - 1}"
        yield "NONLOCAL.LOCATION", all(index < count for entry in entries for index in entry), text
    empty = not any(entry for entries in location for entry in entries)
    yield "NONLOCAL.LOCATION", empty or arch != "x3d", "x3d has no non-local blocks; leave it empty"


def _is_whole(entry: Any, *, low: int) -> bool:
    """Whether it is a list of whole numbers, each at least `low`."""
    return isinstance(entry, list) and all(type(number) is int and number >= low for number in entry)


def _sgs(cfg: CfgNode) -> Checks:
    pathways, arch, sgs = num_pathways(cfg), cfg.MODEL.ARCH, cfg.SGS
    text = f"none of them is a pathway of {arch}, which has {pathways}"
    yield "SGS.PATHWAYS", not sgs.ENABLE or any(pathway < pathways for pathway in sgs.PATHWAYS), text
    for leaf, low, may_be_empty in (("NUM_BINS", -1, False), ("TEST_NUM_BINS", -1, True), ("BLOCK_SIZE", 0, False)):
        entries, other = sgs[leaf], "-1 for the block's length" if low else "0 for the whole clip"
        text = f"it takes one entry, or one for each of the {pathways} pathway(s) of {arch} (slow, fast)"
        yield f"SGS.{leaf}", len(entries) in (1, pathways) or (may_be_empty and not entries), text
        fits = all(type(entry) is int and (entry == low or 1 <= entry <= MAX_BINS) for entry in entries)
        yield f"SGS.{leaf}", fits, f"entries are whole numbers from 1 to {MAX_BINS}, or {other}"
    spherical = sgs.SIMILARITY == "spherical"
    text = "only the similarity spherical has angles and a radius; choose all, or SGS.SIMILARITY spherical"
    yield "SGS.COORDINATES", spherical or sgs.COORDINATES == "all", text
    angles = spherical and sgs.COORDINATES != "radial"
    text = "spherical coordinates have angles from 2 dimensions on; choose at least 2, or SGS.COORDINATES radial"
    yield "SGS.EMBED_DIM", sgs.EMBED_DIM >= 2 or not angles, text


def _segments(cfg: CfgNode) -> Checks:
    """Rules on SGS.GROUPING segments."""
    pathways, sgs = num_pathways(cfg), cfg.SGS
    for leaf in ("TARGET_MAPS", "TEST_TARGET_MAPS"):
        text = f"it is empty, or takes one entry, or one for each of the {pathways} pathway(s) (slow, fast)"
        yield f"SGS.{leaf}", len(sgs[leaf]) in (0, 1, pathways), text
        fits = all(type(entry) in (int, float) and 1 <= entry < math.inf for entry in sgs[leaf])
        yield f"SGS.{leaf}", fits, "entries are numbers, at least 1"
    for bins, target in (("NUM_BINS", "TARGET_MAPS"), ("TEST_NUM_BINS", "TEST_TARGET_MAPS")):
        text = f"SGS.{target} {sgs[target]} chooses each clip's number; choose [-1], or leave the target empty"
        yield f"SGS.{bins}", not (sgs[target] and set(sgs[bins]) - {-1}), text
    unset = {"TARGET_MAPS": [], "TEST_TARGET_MAPS": [], "SIZE_PENALTY": 0, "FEATURES": "mean"}
    unset |= {"SEGMENT_LOSS": "variance", "SEGMENT_MAP": "mean", "ALIGN_PATHWAYS": False}
    for leaf, value in unset.items():
        yield f"SGS.{leaf}", sgs.GROUPING == "segments" or sgs[leaf] == value, "it needs SGS.GROUPING segments"
    if not sgs.ALIGN_PATHWAYS:
        return
    text = f"it takes a network of two pathways, both of them in SGS.PATHWAYS; {cfg.MODEL.ARCH} has {pathways}"
    yield "SGS.ALIGN_PATHWAYS", pathways == 2 and {0, 1} <= set(sgs.PATHWAYS), text
    slow, fast = per_pathway(cfg, "SGS.BLOCK_SIZE")
    text = "with SGS.ALIGN_PATHWAYS the fast pathway's is SLOWFAST.ALPHA times the slow one's, which decides"
    yield "SGS.BLOCK_SIZE", fast == cfg.SLOWFAST.ALPHA * slow, text
    text = "with SGS.ALIGN_PATHWAYS the slow pathway's number decides; give one entry"
    for leaf in ("NUM_BINS", "TEST_NUM_BINS", "TARGET_MAPS", "TEST_TARGET_MAPS"):
        yield f"SGS.{leaf}", len(set(sgs[leaf])) <= 1, text


def _weighted_head(cfg: CfgNode) -> Checks:
    """The head knows the sizes of maps only if no layer after SGS changes the number of maps."""
    sgs, arch = cfg.SGS, cfg.MODEL.ARCH
    if not (sgs.ENABLE and sgs.WEIGHTED_HEAD):
        return
    text = "padded clips have maps of no frames; choose False, or SGS.BATCHING packed"
    yield "SGS.WEIGHTED_HEAD", sgs.BATCHING == "packed", text
    text = "lateral fusion may pad the slow pathway; choose False, or SGS.ALIGN_PATHWAYS True, or SGS.PATHWAYS [1]"
    yield "SGS.WEIGHTED_HEAD", num_pathways(cfg) == 1 or 0 not in sgs.PATHWAYS or sgs.ALIGN_PATHWAYS, text
    text = f"{arch} pools maps after res2; choose False, or SGS.STAGES from res2 on"
    yield "SGS.WEIGHTED_HEAD", arch not in ("c2d", "i3d") or "conv1" not in sgs.STAGES, text


def _data(cfg: CfgNode) -> Checks:
    data, arch = cfg.DATA, cfg.MODEL.ARCH
    text = f"{arch} pools pairs of frames after res2, so it is at least 2"
    yield "DATA.NUM_FRAMES", data.NUM_FRAMES >= 2 or arch not in ("c2d", "i3d"), text
    scales = data.TRAIN_JITTER_SCALES
    text = f"it takes [shortest, longest] short side, both at least DATA.TRAIN_CROP_SIZE ({data.TRAIN_CROP_SIZE})"
    yield "DATA.TRAIN_JITTER_SCALES", len(scales) == 2 and data.TRAIN_CROP_SIZE <= scales[0] <= scales[1], text


def _run(cfg: CfgNode) -> Checks:
    text = f"it is the index of this machine, from 0 to NUM_SHARDS - 1 = {cfg.NUM_SHARDS - 1}"
    yield "SHARD_ID", 0 <= cfg.SHARD_ID < cfg.NUM_SHARDS, text
    processes = max(1, cfg.NUM_GPUS)
    text = f"the {processes} process(es) of a machine (NUM_GPUS) share it evenly, so it is a multiple of {processes}"
    for section in ("TRAIN", "TEST"):
        batch = cfg[section].BATCH_SIZE
        yield f"{section}.BATCH_SIZE", batch >= 1 and batch % processes == 0, text
    fits = cfg.BN.NUM_BATCHES_PRECISE >= 1 or not cfg.BN.USE_PRECISE_STATS
    yield "BN.NUM_BATCHES_PRECISE", fits, "it is at least 1 with BN.USE_PRECISE_STATS"
    steps, factors = cfg.SOLVER.STEPS, cfg.SOLVER.LRS
    if cfg.SOLVER.LR_POLICY == "steps_with_relative_lrs":
        increasing = all(a < b for a, b in zip(steps, steps[1:], strict=False))
        text = "with steps_with_relative_lrs it lists increasing epochs that begin with 0"
        yield "SOLVER.STEPS", steps[:1] == [0] and increasing, text
        text = f"it needs a factor of BASE_LR for each of the {len(steps)} SOLVER.STEPS"
        yield "SOLVER.LRS", len(factors) >= len(steps), text


def _multigrid(cfg: CfgNode) -> Checks:
    solver, shapes = cfg.SOLVER, cfg.MULTIGRID.LONG_CYCLE_FACTORS
    if not cfg.MULTIGRID.LONG_CYCLE:
        return
    text = "with MULTIGRID.LONG_CYCLE, which sets the learning rate's steps, it is steps_with_relative_lrs"
    yield "SOLVER.LR_POLICY", solver.LR_POLICY == "steps_with_relative_lrs", text
    text = "with MULTIGRID.LONG_CYCLE it has at least two epochs, the last of them below SOLVER.MAX_EPOCH"
    yield "SOLVER.STEPS", len(solver.STEPS) >= 2 and solver.STEPS[-1] < solver.MAX_EPOCH, text
    frames, alpha = cfg.DATA.NUM_FRAMES, cfg.SLOWFAST.ALPHA if num_pathways(cfg) == 2 else 1
    lengths = [round(frames * pair[0]) for pair in shapes]
    text = f"clips of {frames} frames (DATA.NUM_FRAMES) become {lengths} long, all multiples of SLOWFAST.ALPHA, {alpha}"
    fits = all(length >= 1 and length % alpha == 0 for length in lengths)
    yield "MULTIGRID.LONG_CYCLE_FACTORS", fits, text
