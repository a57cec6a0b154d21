"""Training, tests and predictions: runs, processes, checkpoints, metrics and command lines."""
