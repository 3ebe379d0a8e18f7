"""Models around the cells: construction, initialization, loss, cost, recorded activations."""
