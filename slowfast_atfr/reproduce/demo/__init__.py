"""The demo: train and test a small network without and with SGS on synthetic videos."""
