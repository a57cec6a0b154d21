"""Checkpoints: files of this package, PySlowFast and Caffe2, read and written; weights into a network."""
