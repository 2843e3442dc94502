"""Options of the scripts. Nothing here imports torch, so that --help is quick."""
