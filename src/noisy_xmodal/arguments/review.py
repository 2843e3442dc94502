"""Options of the review page: of `review()` and of the command."""

from dataclasses import dataclass, field
from pathlib import Path

from ..entry.limits import REVIEW
from ..entry.options import check_value


@dataclass(frozen=True)
class ReviewOptions:
    """What to review, and where the decisions go.

    Attributes:
        table: The table of an audit.
        dataset_name: The audited dataset, for the pictures.
        dataset_config_name: Its config, if it has several.
        split: Its split; train, or the only one, by default.
        image_column: Column of the image, if it is not detected.
        caption_column: Column of the captions, if it is not detected.
        id_column: Column of the image id, if it is not detected.
        reviews: File of the decisions; by default `reviews.parquet` beside the table.
        reviewer: Name of the person, kept with each decision; it can be changed in the page.
        order: Order in which the pairs are shown first.
        among: Number of pairs to choose from first.
        host: Address to serve at; by default GRADIO_SERVER_NAME of the environment, which a Space
            of the Hub sets, or 127.0.0.1, which other machines cannot reach.
        port: Its port; by default GRADIO_SERVER_PORT, or the first free one from 7860.
        open_browser: Whether to open the page in a browser.

    Raises:
        OptionError: If a value is out of range.
    """

    table: Path
    dataset_name: str
    dataset_config_name: str | None = field(
        default=None, metadata={"help": "Config of the dataset, if it has several."}
    )
    split: str | None = field(
        default=None, metadata={"help": "Split of the dataset; train, or the only one, by default."}
    )
    image_column: str | None = field(
        default=None, metadata={"help": "Column of the images, if it is not detected."}
    )
    caption_column: str | None = field(
        default=None, metadata={"help": "Column of the captions, if it is not detected."}
    )
    id_column: str | None = field(
        default=None, metadata={"help": "Column of the image id, if it is not detected."}
    )
    reviews: Path | None = field(
        default=None,
        metadata={"help": "File of the decisions; reviews.parquet beside the table by default."},
    )
    reviewer: str | None = field(
        default=None, metadata={"help": "Your name, which is kept with each decision."}
    )
    order: str = field(
        default="worst first",
        metadata={"help": "worst first, most telling first (clean probability near .5), random."},
    )
    among: int = field(default=500, metadata={"help": "Number of pairs to choose from."})
    host: str | None = field(
        default=None,
        metadata={"help": "Address to serve at; 127.0.0.1, this machine alone, by default."},
    )
    port: int | None = field(
        default=None, metadata={"help": "Its port; the first free one from 7860 by default."}
    )
    open_browser: bool = field(default=False, metadata={"help": "Open the page in a browser."})

    def __post_init__(self) -> None:
        for name, limits in REVIEW.items():
            check_value(name, getattr(self, name), limits)

    @property
    def reviews_file(self) -> Path:
        """The file of the decisions."""
        return self.reviews or Path(self.table).with_name("reviews.parquet")
