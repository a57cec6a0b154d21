"""Runs: processes, training, testing, checkpoints, predictions, and their command lines."""
