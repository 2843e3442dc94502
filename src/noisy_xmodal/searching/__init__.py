"""The parts of a search: the collection with its vectors and index, and the figure."""
