"""What all commands and scripts have in common where a person meets them.

Options are checked before any work (`options`, by the table in `rules`), an error ends in one line
(`door`, by what `errors` says of it), and what is printed holds no control characters (`terminal`).
"""
