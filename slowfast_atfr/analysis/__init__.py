"""Counting what a network does, per clip, and drawing it."""

from slowfast_atfr.analysis.macs import MacCounter, clip_macs, count_macs

__all__ = ["MacCounter", "clip_macs", "count_macs"]
