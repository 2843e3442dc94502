"""What all commands and scripts share at the command line.

`--help` is quick (`quick_help`), options are checked before any work (`options`, by the tables in
`limits`), an error ends in one line (`door`, `errors`), and output holds no control characters
(`terminal`).
"""
