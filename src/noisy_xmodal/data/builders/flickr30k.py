"""Flickr30K: 31,014 photographs with five captions each (29,000 / 1,014 / 1,000).

    Flickr30k(config_name="cmp_40", data_dir="flickr30k").download_and_prepare()

Captions and pictures are available on request from the University of Illinois
(https://shannon.cs.illinois.edu/DenotationGraph/), for non-profit research and education; the
pictures come from Flickr, under the terms of their owners. The split file `dataset_flickr30k.json`
is that of Karpathy and Li (https://cs.stanford.edu/people/karpathy/deepimagesent/). See karpathy.py
for the forms of `data_dir`. Of the 31,783 photographs of the collection, only those in the split
file are used.
"""

from .karpathy import KARPATHY_CITATION, KarpathyBuilder


class Flickr30k(KarpathyBuilder):
    """Builder of Flickr30K; partial noise requires `objects_from`."""

    DATASET = "flickr30k"
    LISTINGS = ("dataset_flickr30k.json", "dataset.json")
    SIZES = (29_000, 1_014, 1_000)
    SUMMARY = "Flickr30K: photographs with five captions each, split as by Karpathy and Li."
    HOMEPAGE = "https://shannon.cs.illinois.edu/DenotationGraph/"
    LICENSE = "Captions: research and education. Pictures: the terms of their owners on Flickr."
    CITATION = f"""@article{{young2014image,
  title = {{From Image Descriptions to Visual Denotations: New Similarity Metrics for Semantic
           Inference over Event Descriptions}},
  author = {{Young, Peter and Lai, Alice and Hodosh, Micah and Hockenmaier, Julia}},
  journal = {{Transactions of the Association for Computational Linguistics}},
  volume = {{2}},
  pages = {{67--78}},
  year = {{2014}}
}}
{KARPATHY_CITATION}"""
    TITLE = "Flickr30K"
    ABOUT = """
Photographs of everyday scenes from Flickr, each with five English captions by five people. The
splits are those of Karpathy and Li (2015): 29,000 pictures for training, 1,014 for validation and
1,000 for test. `image_id` is the name of the picture on Flickr.
"""
    PICTURE_FORM = """
**Form.** Captions and splits of the split file, in its order, with the unchanged bytes of the
picture files. The builder was written for the published layout; the real files were not at hand.
"""
    CREDIT = """
Flickr30K (Young, Lai, Hodosh and Hockenmaier, TACL 2014) is available on request from the
University of Illinois, for non-profit research and education. The pictures belong to their owners
on Flickr, whose terms apply: do not share them further. Splits: Karpathy and Li, CVPR 2015.
"""
