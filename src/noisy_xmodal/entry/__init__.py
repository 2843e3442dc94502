"""What all commands and scripts share at the command line.

Help and errors of the command line come before slow imports (`command_line`), values are checked
before any work (`options`, by the tables in `limits`), an error ends in one line (`door`,
`errors`), and output holds no control characters (`terminal`).
"""
