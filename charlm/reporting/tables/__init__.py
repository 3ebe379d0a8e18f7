"""Tables, methods and references of comparisons, as text that a paper can take."""
