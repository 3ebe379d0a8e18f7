"""Training of models: optimizer, schedule, loop, budgets, and whole runs."""
