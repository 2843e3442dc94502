"""The model of the label-noise family: two towers into one space, with class prototypes."""
