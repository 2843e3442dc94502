"""The tables and figures of RCAR: Guo and Ding, FITEE 2023.

The paper's tables are pictures of which no transcription is at hand, so no published figures stand
beside ours; the text gives a few.
"""

from . import ncr
from .table import COSTS, Data, Drawing, Row, Table

LEVELS = (20, 40, 60)
AT_40 = (Data(ncr.F30K, "Flickr30K", ("cmp_40",)),)
_COMPLETE = ("clean", *(f"cmp_{level}" for level in LEVELS))
_PARTIAL = ("clean", *(f"part_{level}" for level in LEVELS))

_BERT = ("--text_model_name_or_path", "bert-base-uncased")


def _rcar(key: str, title: str, *options: str) -> Row:
    words = ("--method", "rcar", *options)
    return Row(key, title, "train_rcar", words, paper=_BERT)


VSE = ncr.system("vse", "VSE", "vse")
VSE_PLUS_PLUS = ncr.system("vse-pp", "VSE++", "vse++")
TERAN = ncr.system("teran", "TERAN", "teran", *ncr.LIGHT)
RCAR = _rcar("rcar", "RCAR")
#: The loss of matching alone, and with masked words, without refurbished labels.
ITM = _rcar("itm", "ITM", "--robust", "False", "--mlm_epochs", "0")
ITM_MLM = _rcar("itm-mlm", "ITM + MLM", "--robust", "False")
ITM_REFURBISHER = _rcar("itm-refurbisher", "ITM + refurbisher", "--mlm_epochs", "0")
SCAN_DRAWN = Row(
    "scan-features",
    "SCAN",
    options=(*ncr.SCAN.options, "--draw_features", "True"),
    small=ncr.SCAN.small,
)

_SYSTEMS = (VSE, VSE_PLUS_PLUS, ncr.VSRN, TERAN, ncr.SCAN, ncr.IMRAM, ncr.SGRAF, RCAR)
_RATES = "The paper's figures are not at hand: its tables are pictures."

TABLES = (
    Table(
        "rcar-table1",
        "RCAR, Table 1: partial mismatch on MS-COCO",
        (Data(ncr.COCO, "MS-COCO 1K", _PARTIAL, fold_size=1000),),
        _SYSTEMS,
        note=_RATES,
    ),
    Table(
        "rcar-table2",
        "RCAR, Table 2: complete mismatch on Flickr30K and on MS-COCO",
        (
            Data(ncr.F30K, "Flickr30K", _COMPLETE),
            Data(ncr.COCO, "MS-COCO 1K", _COMPLETE, fold_size=1000),
        ),
        _SYSTEMS,
        note=_RATES,
    ),
    Table(
        "rcar-table3",
        "RCAR, Table 3: parts of RCAR on Flickr30K",
        AT_40,
        (ITM, ITM_MLM, ITM_REFURBISHER, RCAR),
        note="From ITM to RCAR the paper gains 21.9 (i2t) and 13.6 (t2i) points of R@1.",
    ),
    Table(
        "rcar-table4",
        "RCAR, Table 4: size and time",
        AT_40,
        tuple(row for row in _SYSTEMS if row is not VSE),
        metrics=COSTS,
        digits=2,
        choices=("cost",),
        drawing=Drawing("bars", COSTS),
        note="The paper gives 109 million parameters of BERT, and 7.5 h of training for RCAR and "
        "25.4 h for VSRN on a TITAN RTX. A query is compared with up to 1,000 items.",
    ),
    Table(
        "rcar-fig3",
        "RCAR, Fig. 3: m, the epochs before the refurbisher starts",
        AT_40,
        tuple(_rcar(f"m{m}", f"m = {m}", "--warmup_epochs", str(m)) for m in range(6, 12)),
        drawing=Drawing("rows", ("i2t_r1", "t2i_r1")),
        note="The paper is best at m = 7.",
    ),
    Table(
        "rcar-fig4",
        "RCAR, Fig. 4: losses over the epochs, without and with masked words",
        AT_40,
        (ITM, ITM_MLM),
        drawing=Drawing(
            "pictures", pictures=(("itm", "losses.png", 0), ("itm-mlm", "losses.png", 0))
        ),
    ),
    Table(
        "rcar-fig5",
        "RCAR, Fig. 5: the losses' mixture, and the pairs of RCAR and of SCAN by t-SNE",
        AT_40,
        (RCAR, SCAN_DRAWN),
        drawing=Drawing(
            "pictures",
            pictures=(
                ("rcar", "divisions/epoch_*.png", -1),
                ("rcar", "features.png", 0),
                ("scan-features", "features.png", 0),
            ),
        ),
    ),
    *(
        Table(
            f"rcar-fig{number}",
            f"RCAR, Fig. {number}: {what} queries and what RCAR retrieves",
            AT_40,
            (RCAR,),
            drawing=Drawing("pictures", pictures=(("rcar", "retrieved.png", 0),)),
            note="The figure has both kinds of queries, as in Fig. 6 and 7.",
        )
        for number, what in ((6, "image"), (7, "text"))
    ),
)
