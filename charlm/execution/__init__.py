"""Execution of work: devices, signals, worker processes, a Ray cluster."""
