"""Output of the commands on a terminal: results on stdout, all else on stderr."""
