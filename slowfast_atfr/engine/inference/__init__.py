"""Trained networks on your own videos: prediction, export, and traces of what SGS merges."""
