"""Helpers for all other rooms: processes, logs, random states, signals, files."""
