"""The model for label noise: two towers into one common space, with class prototypes."""
