"""Similarity Guided Sampling (Fayyaz et al., CVPR 2021): similarities, kernels, bins, the layer, and its record."""

from slowfast_atfr.sgs.build import sgs_after
from slowfast_atfr.sgs.compiled import compile_network
from slowfast_atfr.sgs.insert import insert_sgs
from slowfast_atfr.sgs.kernels import KERNEL_REGISTRY
from slowfast_atfr.sgs.pathways import PathwaySGS
from slowfast_atfr.sgs.record import ClipRecord, Record, count_active, record
from slowfast_atfr.sgs.sampler import SGS
from slowfast_atfr.sgs.segment_sampler import SegmentSGS
from slowfast_atfr.sgs.similarity import SIMILARITY_REGISTRY
from slowfast_atfr.sgs.temporal_sampler import TemporalSampler

__all__ = [
    "KERNEL_REGISTRY",
    "SGS",
    "SIMILARITY_REGISTRY",
    "ClipRecord",
    "PathwaySGS",
    "Record",
    "SegmentSGS",
    "TemporalSampler",
    "compile_network",
    "count_active",
    "insert_sgs",
    "record",
    "sgs_after",
]
