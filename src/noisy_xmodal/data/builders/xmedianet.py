"""XMediaNet: texts and images of 200 classes, as feature vectors.

    XMediaNet(config_name="sym_40", data_dir="xmedianet").download_and_prepare()

Source: Peng et al., "An Overview of Cross-Media Retrieval: Concepts, Methodologies, Benchmarks, and
Challenges", IEEE TCSVT 2018. The set has five media; retrieval with noisy labels uses its 40,000
pairs of text and image. It is available from Peking University on application, whose terms also
apply to derived data. Every paper extracts its own features (VGG19 with Doc2Vec in MRL, CLIP in
DMCM), so results of different papers may use different vectors.

`data_dir` contains vectors and labels in the layout of modality_arrays.py, with their own splits:
32,000 train, 4,000 validation and 4,000 test pairs in MRL. Implemented from that layout and tested
without the real files.
"""

from .modality_arrays import VectorBuilder


class XMediaNet(VectorBuilder):
    """Builder of the XMediaNet pairs; requires `data_dir`."""

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
Pairs of text and image of 200 classes, as one vector per modality; converted by
`dataset_scripts/xmedianet.py`, with the splits of the source files (papers use 32,000, 4,000 and
4,000 pairs). The converter was written for the published layout; the real files were not at hand.
"""
    CREDIT = """
Peng, Huang and Zhao, *An Overview of Cross-Media Retrieval: Concepts, Methodologies, Benchmarks,
and Challenges*, IEEE Transactions on Circuits and Systems for Video Technology 28(9), 2018. The set
is available from Peking University on application, whose terms also apply to derived data: ask
before sharing features.
"""
