"""How models learn from pairs that may be wrong: one file per paper, one class per method.

The two tables list the methods by the name that `--method` takes. A new method is a file here, or
anywhere, and a line in one of them.
"""

from ..training import Method
from .bicro import Bicro
from .class_loss import ClassLoss
from .crcl import Crcl
from .cream import Cream
from .dcca import Dcca
from .dccae import Dccae
from .decl import Decl
from .dmcm import Dmcm
from .dscmr import Dscmr
from .gsc import Gsc
from .l2rm import L2rm
from .lcn import Lcn
from .mrl import Mrl, MrlWarmup
from .ncr import Ncr
from .plain import (
    Clip,
    Imram,
    Plain,
    Saf,
    Scan,
    ScanI2t,
    ScanI2tAverage,
    ScanT2iAverage,
    Sgr,
    SgrClean,
    SgrStar,
    Teran,
    Vse,
    VsePlusPlus,
)
from .rcar import Rcar
from .rcl import Rcl
from .sdml import Sdml
from .sir import Sir
from .sps import Sps
from .vsrn import Vsrn

#: Methods for pairs with captions.
CAPTION_METHODS: dict[str, type[Method]] = {
    "ncr": Ncr,
    "rcar": Rcar,
    "plain": Plain,
    "vse": Vse,
    "vse++": VsePlusPlus,
    "clip": Clip,
    "scan": Scan,
    "scan-t2i-avg": ScanT2iAverage,
    "scan-i2t-lse": ScanI2t,
    "scan-i2t-avg": ScanI2tAverage,
    "saf": Saf,
    "sgr": Sgr,
    "imram": Imram,
    "vsrn": Vsrn,
    "teran": Teran,
    "sgr*": SgrStar,
    "sgr-c": SgrClean,
    "rcl": Rcl,
    "decl": Decl,
    "crcl": Crcl,
    "gsc": Gsc,
    "cream": Cream,
    "bicro": Bicro,
    "l2rm": L2rm,
    "sps": Sps,
    "sir": Sir,
}

#: Methods for pairs with classes.
LABEL_METHODS: dict[str, type[Method]] = {
    "dmcm": Dmcm,
    "mrl": Mrl,
    "mrl_warmup": MrlWarmup,
    "lcn": Lcn,
    "ce": ClassLoss,
    "sdml": Sdml,
    "dscmr": Dscmr,
    "dcca": Dcca,
    "dccae": Dccae,
}
