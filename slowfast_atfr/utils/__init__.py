"""What every other room may use: processes, logs, random states, metrics and meters."""
