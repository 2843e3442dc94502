"""XMediaNet: texts and images of 200 classes, as feature vectors.

    XMediaNet(config_name="sym_40", data_dir="xmedianet").download_and_prepare()

Source: Peng et al., "An Overview of Cross-Media Retrieval: Concepts, Methodologies, Benchmarks, and
Challenges", IEEE TCSVT 2018. The set has five media; retrieval with noisy labels uses its 40,000
pairs of text and image. Peking University gives it on an application form, whose terms apply
to what is made of it. Features are extracted by everyone anew (VGG19 with Doc2Vec in MRL, CLIP in
DMCM), so that figures of two papers need not be of the same vectors.

`data_dir` holds vectors and labels in the layout of modality_arrays.py, splits as given: 32,000
train, 4,000 validation and 4,000 test pairs in MRL. Written against that layout: the real files
were not at hand.
"""

from .modality_arrays import VectorBuilder


class XMediaNet(VectorBuilder):
    """Builder of the XMediaNet pairs; `data_dir` is needed."""

    SUMMARY = "XMediaNet image-text pairs as feature vectors, with 200 classes."
    CITATION = """@article{peng2018overview,
  title = {An Overview of Cross-Media Retrieval: Concepts, Methodologies, Benchmarks, and
           Challenges},
  author = {Peng, Yuxin and Huang, Xin and Zhao, Yunzhen},
  journal = {IEEE Transactions on Circuits and Systems for Video Technology},
  volume = {28},
  number = {9},
  pages = {2372--2385},
  year = {2018}
}"""
    TITLE = "XMediaNet image-text pairs with label noise"
    ABOUT = """
Pairs of text and image of 200 classes, as one vector a modality; converted by
`dataset_scripts/xmedianet.py`, with the splits as given (the field has 32,000, 4,000 and 4,000
pairs). The converter was written against the published layout; the real files were not at hand.
"""
    CREDIT = """
Peng, Huang and Zhao, *An Overview of Cross-Media Retrieval: Concepts, Methodologies, Benchmarks,
and Challenges*, IEEE Transactions on Circuits and Systems for Video Technology 28(9), 2018. The set
is given by Peking University on an application form, whose terms apply to what is made of it: ask
before sharing features.
"""
