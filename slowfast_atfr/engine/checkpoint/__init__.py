"""Checkpoints: reading and writing files of this package, PySlowFast and Caffe2, and loading weights."""
