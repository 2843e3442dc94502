"""Flickr30K: 31,014 photographs with five captions each (29,000 / 1,014 / 1,000).

    Flickr30k(config_name="cmp_40", data_dir="flickr30k").download_and_prepare()

Captions and pictures are available on request from the University of Illinois
(https://shannon.cs.illinois.edu/DenotationGraph/), for non-profit research and education; the
pictures come from Flickr, under the terms of their owners. The split file `dataset_flickr30k.json`
is that of Karpathy and Li (https://cs.stanford.edu/people/karpathy/deepimagesent/). See karpathy.py
for the forms of `data_dir`. Of the 31,783 photographs of the collection, only those in the split
file are used.
"""

from .karpathy import KarpathyBuilder


class Flickr30k(KarpathyBuilder):
    """Flickr30K; partial noise requires `objects_from`."""

    CARD = "flickr30k.md"
    DATASET = "flickr30k"
    SIZES = (29_000, 1_014, 1_000)
