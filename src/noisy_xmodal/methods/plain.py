"""Training that believes every pair: the systems that robust methods are compared with.

| preset | similarity                     | negatives after the warm-up | paper                    |
|--------|--------------------------------|-----------------------------|--------------------------|
| vse    | cosine of one vector a side    | all                         | Kiros et al., 2014       |
| vse++  | the same                       | hardest                     | Faghri et al., BMVC 2018 |
| clip   | the same                       | all, by cross-entropy       | Radford et al., 2021     |
| scan   | cross-attention, four variants | hardest                     | Lee et al., ECCV 2018    |
| saf    | attention filtration           | hardest                     | Diao et al., AAAI 2021   |
| sgr    | graph reasoning                | hardest                     | the same                 |
| imram  | recurrent attention            | hardest                     | Chen et al., CVPR 2020   |
| vsrn   | reasoning over regions         | hardest                     | see `vsrn.py`            |
| teran  | best region of each word       | hardest                     | Messina et al., 2021     |
| sgr*   | graph reasoning                | hardest, all in a warm-up   | NCR's comparison         |
| sgr-c  | the same, right pairs only     | the same                    | NCR's comparison         |

The loss is the triplet loss with margin alpha (`margin`), averaged or summed over the negatives
where all count. Hardest negatives from the first step do not get far on noisy pairs or small
models; the warm-up of sgr* is NCR's remedy. The published networks and schedules are in
`arguments/published.py`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..options import Rule, never_read
from ..training import Constant, PairBatch, PairTask
from ..training.method import Fields
from .objectives import MARGIN, ObjectiveMethod, objective_constant

#: Those whose targets do not spread.
_OBJECTIVES = ("triplet", "mean_triplet", "sum_triplet", "infonce")


class Plain(ObjectiveMethod):
    """One network that takes every pair for right."""

    title = "plain"
    task = PairTask
    options: ClassVar[Mapping[str, Constant]] = {
        "objective": objective_constant("triplet", _OBJECTIVES),
        "margin": MARGIN,
    }
    argument_rules: ClassVar[Mapping[str, Rule]] = {
        "robust": never_read(
            "the method divides nothing, so nothing can be left out. Leave it out."
        )
    }
    recipe: ClassVar[Fields] = {"warmup_epochs": 0}

    def warm_up_loss(self, output: Any, batch: PairBatch) -> Tensor:
        """The loss over all negatives, (n_pairs,)."""
        return self.objective.warm_up(output, batch.negatives)

    def loss(self, output: Any, batch: PairBatch) -> Tensor:
        """The objective's own loss, (n_pairs,)."""
        ones = torch.ones(len(batch.pair_id), device=batch.pair_id.device)
        return self.objective.robust(output, ones, batch.negatives)


class Vse(Plain):
    """All negatives: their mean, or their sum as in the paper by the published recipe."""

    title = "VSE"
    citation = (
        "Kiros, Salakhutdinov, Zemel. Unifying Visual-Semantic Embeddings with Multimodal Neural "
        "Language Models. arXiv:1411.2539, 2014."
    )
    shape: ClassVar[Fields] = {"similarity": "cosine"}
    options: ClassVar[Mapping[str, Constant]] = {
        **Plain.options,
        "objective": objective_constant("mean_triplet", _OBJECTIVES),
    }


class VsePlusPlus(Plain):
    """Hardest negatives."""

    title = "VSE++"
    citation = (
        "Faghri, Fleet, Kiros, Fidler. VSE++: Improving Visual-Semantic Embeddings with Hard "
        "Negatives. BMVC 2018."
    )
    shape: ClassVar[Fields] = {"similarity": "cosine"}


class Clip(Plain):
    """The symmetric cross-entropy of CLIP: a pretrained CLIP, or any network from scratch."""

    title = "CLIP"
    citation = (
        "Radford et al. Learning Transferable Visual Models From Natural Language Supervision. "
        "ICML 2021."
    )
    shape: ClassVar[Fields] = {"similarity": "cosine"}
    options: ClassVar[Mapping[str, Constant]] = {
        **Plain.options,
        "objective": objective_constant("infonce", _OBJECTIVES),
    }


class Scan(Plain):
    """Words attend to regions; a smooth maximum over the words."""

    title = "SCAN t-i LSE"
    citation = "Lee, Chen, Hua, Hu, He. Stacked Cross Attention for Image-Text Matching. ECCV 2018."
    shape: ClassVar[Fields] = {"similarity": "scan_t2i"}


class ScanT2iAverage(Scan):
    """Words attend to regions; the mean over the words."""

    title = "SCAN t-i AVG"
    shape: ClassVar[Fields] = {
        "similarity": "scan_t2i",
        "similarity_options": {"aggregation": "mean"},
    }


class ScanI2t(Scan):
    """Regions attend to words; a smooth maximum over the regions."""

    title = "SCAN i-t LSE"
    shape: ClassVar[Fields] = {"similarity": "scan_i2t"}


class ScanI2tAverage(Scan):
    """Regions attend to words; the mean over the regions."""

    title = "SCAN i-t AVG"
    shape: ClassVar[Fields] = {
        "similarity": "scan_i2t",
        "similarity_options": {"aggregation": "mean"},
    }


class Saf(Plain):
    """Alignments filtered by attention."""

    title = "SAF"
    citation = (
        "Diao, Zhang, Ma, Lu. Similarity Reasoning and Filtration for Image-Text Matching. "
        "AAAI 2021."
    )
    shape: ClassVar[Fields] = {"similarity": "saf"}


class Sgr(Saf):
    """Alignments that a graph reasons over."""

    title = "SGR"
    shape: ClassVar[Fields] = {"similarity": "sgr"}


class Imram(Plain):
    """Attention in steps, each of which remembers what the step before attended to.

    The recommended shape is Text-IMRAM with two steps, which two cores can train. The options `{}`
    of the head are Full-IMRAM with three steps, six times as slow. The recipe `small` warms up.
    """

    title = "IMRAM"
    citation = (
        "Chen, Ding, Liu, Lin, Liu, Han. IMRAM: Iterative Matching with Recurrent Attention Memory "
        "for Cross-Modal Image-Text Retrieval. CVPR 2020."
    )
    shape: ClassVar[Fields] = {
        "similarity": "imram",
        "similarity_options": {"directions": "text", "steps": 2},
    }
    recipe: ClassVar[Fields] = {}


class Teran(Plain):
    """The best region of every word, after transformers on both sides.

    The recipe `small` warms up on all negatives.
    """

    title = "TERAN"
    citation = (
        "Messina, Amato, Esuli, Falchi, Gennaro, Marchand-Maillet. Fine-grained Visual Textual "
        "Alignment for Cross-Modal Retrieval using Transformer Encoders. ACM TOMM 2021."
    )
    shape: ClassVar[Fields] = {"similarity": "teran"}
    recipe: ClassVar[Fields] = {}


class SgrStar(Sgr):
    """SGR after a warm-up on all negatives, as NCR compares with it."""

    title = "SGR*"
    recipe: ClassVar[Fields] = {}  # the warm-up is that of the script's recipe


class SgrClean(SgrStar):
    """SGR* on the pairs that the oracle marks as right: an upper mark, never a method."""

    title = "SGR-C"
    drops_noisy_pairs = True
