"""Fault injection: one module per hazard, each with `run(scale) -> Hazard`."""

# Each is a module of this package. `make faults` runs all of them, in this order.
HAZARDS = (
    "soak",  # it takes its 60 minutes at scale 1, and comes first
    "kills",
    "torn_writes",
    "power_cuts",
    "disk_errors",
    "damage",
    "resume_to_the_bit",
    "two_writers",
    "live_readers",
    "killed_comparisons",
    "golden_runs",
    "hostile",
    "hostile_reports",
    "hostile_outputs",
    "hostile_archives",
    "kernel_cache",
    "sanitizer",
    "command_lines",
    "terminals",
    "odd_texts",
    "text_cache",
    "texts",
)
