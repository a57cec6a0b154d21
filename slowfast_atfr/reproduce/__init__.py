"""Reproduce the paper's tables, benchmark, and run the demo and the accuracy study."""
