"""Memory probes of trained models, one file per probe."""
