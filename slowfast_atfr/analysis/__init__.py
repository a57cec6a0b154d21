"""Count the cost of a network per clip, time it, and draw what SGS does."""

from slowfast_atfr.analysis.mac_counter import MacCounter
from slowfast_atfr.analysis.macs import clip_macs, count_macs
from slowfast_atfr.analysis.summary import Summary, model_summary

__all__ = ["MacCounter", "Summary", "clip_macs", "count_macs", "model_summary"]
