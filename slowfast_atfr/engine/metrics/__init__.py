"""Accuracy, meters, results video by video, TensorBoard."""
