"""Keys of PySlowFast and of the paper's release that are not ours: which are ignored, and which have a successor."""

from typing import Any

_DISTANCES = "L2, L1, Cosine and Mahal are mean_l2, mean_l1, mean_cosine, mean_mahalanobis; the paper's is magnitude"

# Key of the paper's release -> (our key, a hint where the rename is not enough).
RENAMED = {
    "TEMPORAL_SAMPLING.NUM_BINS": ("SGS.NUM_BINS", ""),
    "TEMPORAL_SAMPLING.PATHWAYS": ("SGS.PATHWAYS", ""),
    "TEMPORAL_SAMPLING.LATENT_DIMENSION": ("SGS.EMBED_DIM", ""),
    "TEMPORAL_SAMPLING.KERNEL_TYPE": ("SGS.KERNEL", ""),
    "TEMPORAL_SAMPLING.KERNEL_NORM": ("SGS.KERNEL", "the normalised ones are linear_normalized, delta_normalized"),
    "TEMPORAL_SAMPLING.DISTANCE_TYPE": ("SGS.SIMILARITY", _DISTANCES),
    "TEMPORAL_SAMPLING.SIMILARITY_FUNCTION_TYPE": ("SGS.SIMILARITY", _DISTANCES),
    "TEMPORAL_SAMPLING.ORDERED": ("SGS.ORDER", "choose bin or time"),
    "TEMPORAL_SAMPLING.GRAD_SCALE_VAL": ("SGS.GRAD_SCALE", ""),
    "TEMPORAL_SAMPLING.DROP_ZERO_BINS": (
        "SGS.BATCHING",
        "empty bins are always dropped; padded is the old way",
    ),
    "MODEL.TEMPORAL_LAYER_STAGE": ("SGS.STAGES", "a list such as [res2], and SGS.ENABLE True"),
}

# Sections of PySlowFast that this package does not have, each with the key that switches it on and the test for "off".
# A section whose switch is off, or that has no switch, is accepted and ignored.
_SECTION_SWITCHES = {
    "AVA": (None, None),
    "BENCHMARK": (None, None),
    "CONTRASTIVE": (None, None),
    "DEMO": ("ENABLE", lambda value: value is False),
    "DETECTION": ("ENABLE", lambda value: value is False),
    "MASK": ("ENABLE", lambda value: value is False),
    "MVIT": (None, None),
    "TASK": ("", lambda value: value == ""),
    "TENSORBOARD": (None, None),  # all but ENABLE and LOG_DIR; the switches of its parts are below
    "VIS_MASK": ("ENABLE", lambda value: value is False),
}
# Numbers that PySlowFast sets to None to switch them off; here that is 0.
OFF_IS_NONE = ("SOLVER.CLIP_GRAD_L2NORM", "SOLVER.CLIP_GRAD_VAL")
# Keys that a run sets itself; values in files are ignored.
SET_BY_RUN = ("MULTIGRID.DEFAULT_S", "MULTIGRID.LONG_CYCLE_SAMPLING_RATE")
# Keys that we lack in sections that we have, with the values that change nothing; None: any.
_HARMLESS = {
    "AUG.GEN_MASK_LOADER": (False,),
    "AUG.MASK_FRAMES": None,  # this and the next ones are read only with GEN_MASK_LOADER
    "AUG.MASK_RATIO": None,
    "AUG.MASK_TUBE": None,
    "AUG.MASK_WINDOW_SIZE": None,
    "AUG.MAX_MASK_PATCHES_PER_BLOCK": None,
    "BN.GLOBAL_SYNC": (False,),
    "DATA.COLOR_RND_GRAYSCALE": (0.0,),
    "DATA.DUMMY_LOAD": (False,),
    "DATA.LOADER_CHUNK_OVERALL_SIZE": (0,),
    "DATA.LOADER_CHUNK_SIZE": (0,),
    "DATA.MULTI_LABEL": (False,),
    "DATA.PATH_TO_PRELOAD_IMDB": None,  # read by the data set ImageNet only
    "DATA.SKIP_ROWS": (0,),
    "DATA.SSL_COLOR_JITTER": (False,),
    "DATA.SSL_MOCOV2_AUG": (False,),
    "DATA.TIME_DIFF_PROB": (0.0,),
    "DATA.TRAIN_CROP_NUM_SPATIAL": (1,),
    "DATA.TRAIN_CROP_NUM_TEMPORAL": (1,),
    "DATA.TRAIN_JITTER_FPS": (0, 0.0),
    "DATA.TRAIN_JITTER_MOTION_SHIFT": (False,),
    "DATA.TRAIN_PCA_EIGVAL": None,  # read by the data sets AVA and ImageNet only
    "DATA.TRAIN_PCA_EIGVEC": None,
    "DATA_LOADER.ENABLE_MULTI_THREAD_DECODE": (True, False),
    "MODEL.DETACH_FINAL_FC": (False,),
    "MODEL.DROPCONNECT_RATE": (0.0,),
    "MODEL.FP16_ALLREDUCE": (False,),
    "MODEL.FROZEN_BN": (False,),
    "MODEL.MULTI_PATHWAY_ARCH": None,
    "MODEL.SINGLE_PATHWAY_ARCH": None,
    "MULTIGRID.DEFAULT_B": None,
    "MULTIGRID.DEFAULT_T": None,
    "SOLVER.BETAS": ([0.9, 0.999], "(0.9, 0.999)"),  # PyTorch's default
    "SOLVER.LARS_ON": (False,),
    "SOLVER.LAYER_DECAY": (1.0,),
    "SOLVER.STEP_SIZE": None,  # read by no policy that PySlowFast still has
    "SOLVER.WARMUP_FACTOR": None,
    "TENSORBOARD.CONFUSION_MATRIX.ENABLE": (False,),
    "TENSORBOARD.HISTOGRAM.ENABLE": (False,),
    "TENSORBOARD.MODEL_VIS.ENABLE": (False,),
    "TENSORBOARD.WRONG_PRED_VIS.ENABLE": (False,),
    "TEST.NUM_TEMPORAL_CLIPS": ([],),
    "TRAIN.CHECKPOINT_IN_INIT": (False,),
}


def is_inert(key: str, value: Any) -> bool | None:
    """Whether a key of PySlowFast that we lack can be ignored, since its value leaves the feature off.

    False: it switches on a feature that this package lacks. None: it is no key of PySlowFast.
    """
    if key in _HARMLESS:
        return _HARMLESS[key] is None or value in _HARMLESS[key]
    section, _, leaf = key.partition(".")
    if section not in _SECTION_SWITCHES:
        return None
    switch, is_off = _SECTION_SWITCHES[section]
    return is_off(value) if leaf == switch else True
