"""Options of the review page: of `review()` and of the command."""

from dataclasses import dataclass
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
    dataset_config_name: str | None = None
    split: str | None = None
    image_column: str | None = None
    caption_column: str | None = None
    id_column: str | None = None
    reviews: Path | None = None
    reviewer: str | None = None
    order: str = "worst first"
    among: int = 500
    host: str | None = None
    port: int | None = None
    open_browser: bool = False

    def __post_init__(self) -> None:
        for name, limits in REVIEW.items():
            check_value(name, getattr(self, name), limits)

    @property
    def reviews_file(self) -> Path:
        """The file of the decisions."""
        return self.reviews or Path(self.table).with_name("reviews.parquet")
