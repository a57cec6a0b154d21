"""Counting what a network does, per clip, and drawing it."""

from slowfast_atfr.analysis.macs import MacCounter, clip_macs, count_macs
from slowfast_atfr.analysis.summary import Summary, model_summary

__all__ = ["MacCounter", "Summary", "clip_macs", "count_macs", "model_summary"]
