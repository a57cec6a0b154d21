"""Configuration: PySlowFast's keys, `SGS.*`, and `load_cfg`, which returns a validated, frozen node."""

from slowfast_atfr.config.augmentation import MAX_MAGNITUDE, RandAugmentPolicy, parse_rand_augment
from slowfast_atfr.config.defaults import get_cfg
from slowfast_atfr.config.errors import ConfigError
from slowfast_atfr.config.load import load_cfg
from slowfast_atfr.config.names import config_names, configs_folder
from slowfast_atfr.config.rules import ALL_STAGES, ARCHS, BLOCKS, NORM_TYPES, RESIDUAL_STAGES, STAGES
from slowfast_atfr.config.validate import MAX_BINS, PATHWAY_NAMES, num_pathways, per_pathway, validate

__all__ = [
    "ALL_STAGES",
    "ARCHS",
    "BLOCKS",
    "MAX_BINS",
    "MAX_MAGNITUDE",
    "NORM_TYPES",
    "PATHWAY_NAMES",
    "RESIDUAL_STAGES",
    "STAGES",
    "ConfigError",
    "RandAugmentPolicy",
    "config_names",
    "configs_folder",
    "get_cfg",
    "load_cfg",
    "num_pathways",
    "parse_rand_augment",
    "per_pathway",
    "validate",
]
