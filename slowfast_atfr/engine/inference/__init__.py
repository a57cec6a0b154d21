"""Trained networks on videos of your own: prediction, export, pictures of what SGS merges."""
