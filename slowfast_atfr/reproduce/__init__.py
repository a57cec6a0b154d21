"""Runs that show what the method does, and compare it with what the paper reports."""
