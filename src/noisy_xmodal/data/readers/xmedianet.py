"""XMediaNet: texts and images of 200 classes, as feature vectors.

    XMediaNet(config_name="sym_40", data_dir="xmedianet").download_and_prepare()

The set has five media; retrieval with noisy labels uses its 40,000 pairs of text and image. Every
paper extracts its own features (VGG19 with Doc2Vec in MRL, CLIP in DMCM), so results of different
papers may use different vectors. `data_dir` has the layout of vectors.py, with splits of its own.
"""

from .vectors import VectorReader


class XMediaNet(VectorReader):
    """The XMediaNet pairs; requires `data_dir`."""

    CARD = "xmedianet.md"
