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
    """The XMediaNet pairs; requires `data_dir`."""

    CARD = "xmedianet.md"
