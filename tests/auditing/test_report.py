"""The report as a reader and a browser would take it."""

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from audit_results import SHARE, result_of
from noisy_xmodal.auditing import report as module
from noisy_xmodal.auditing.report import percent, probability, report_html, shorten
from noisy_xmodal.auditing.report_plot import histogram_svg, loss_histogram
from noisy_xmodal.noise.random_pairs import WrongShare

VOID = {"meta", "img", "source", "br", "link"}
HOSTILE = (
    "</p></li><script>alert(1)</script><img src='http://evil.example/x.png' onerror=\"run()\">"
    "<style>@import url(http://evil.example)</style> & &amp; {{ 7 * 7 }}"
)


class Page(HTMLParser):
    """What stands in a page: its tags, its texts, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts).replace("\N{NO-BREAK SPACE}", " ")

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def addresses(self) -> list[str]:
        loading = ("src", "href", "srcset", "data", "action", "poster", "background")
        return [a[name] for _, a in self.tags for name in loading if name in a]


@pytest.fixture
def no_figure(monkeypatch):
    """Drawing takes most of the time."""
    monkeypatch.setattr(module, "histogram_svg", lambda *_: "")


def picture(width: int = 400, height: int = 300, mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height)).convert(mode)


def numbers(n: int = 200) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    losses = rng.gamma(3, 0.4, n)
    return {"losses": losses, "clean_probability": 1 / (1 + np.exp(3 * (losses - 2)))}


def regions(n: int = 200, **changes):
    """A result without pictures, of which the last pair is wrong."""
    columns = {
        "regions": [[[1.0]]] * n,
        "image_id": [str(row) for row in range(n)],
        "captions": [[f"text {row}"] for row in range(n)],
        "is_noisy": [[row == n - 1] for row in range(n)],
    }
    random = np.random.default_rng(1).normal(3, 0.5, 100)
    return result_of(columns, **({"random_losses": random} | numbers(n) | changes))


def photographs(images, captions=None, **changes):
    """A result of pictures with a caption each, the first pair the worst."""
    n = len(images)
    columns = {
        "image": images,
        "image_id": [str(row) for row in range(n)],
        "captions": [[text] for text in captions or ["x"] * n],
    }
    losses = np.arange(n, 0, -1.0)
    return result_of(columns | changes.pop("columns", {}), 1 / (1 + losses), losses, **changes)


def full(text: str = "a rose"):
    """A result with everything that a page can show."""
    captions = [text, f"better {text}", *[text] * 8]
    return photographs(
        [picture(), picture(9, 8), *[picture(10, 900)] * 8],
        captions,
        columns={"image_id": [text] * 10, "is_noisy": [[row == 0] for row in range(10)]},
        dataset_name=text,
        better_caption=np.where(np.arange(10) == 0, 1, -1),
        better_image=np.where(np.arange(10) == 0, 1, -1),
        hashes=[0, 0, *[0xF0F0] * 8],
        left_out=[text],
        warnings=[text],
        shown=2,
    )


def page_of(result) -> Page:
    return Page(report_html(result, {"command": "the command"}))


def jpeg(uri: str) -> Image.Image:
    start = "data:image/jpeg;base64,"
    assert uri.startswith(start)
    return Image.open(io.BytesIO(base64.b64decode(uri[len(start) :], validate=True)))


@pytest.mark.usefixtures("no_figure")
def test_the_answer_comes_first():
    result = regions(inject_noise="cmp_20", dataset_config_name="clean")
    text = page_of(result).text
    n_wrong = sum(value < 0.5 for value in result.judgement.clean_probability.tolist())
    assert "About 19.8 % of the 200 pairs are wrong (19.1 to 20.6 %)" in text
    assert f"{n_wrong}judged wrong" in text
    assert "200images" in text
    assert "95 % interval" in text
    name = "flowers clean train, with cmp_20 injected"
    assert 0 < text.index(name) < text.index("About") < text.index("Judged by 3 small models")
    assert "The worst pair\n" in page_of(regions(shown=1)).text


@pytest.mark.usefixtures("no_figure")
def test_a_share_that_is_unknown_is_called_so_with_its_upper_bound():
    text = page_of(regions(share=WrongShare(None, 0.0, 0.875, 0.95, 0.5, 0.5))).text
    assert "How many of the 200 pairs are wrong is unknown (at most 87.5 %)" in text
    assert "does not distinguish them from random pairs" in text
    assert "scaled to at most 87.5 % of the pairs" in text
    assert "without the truthunknown" in text
    for word in ("None", "nan", "About", "interval"):
        assert word not in text


def test_everything_is_shown_in_its_order():
    page = page_of(full())
    for what in ("1.000", "too few pairs", "10.0 %", "19.8 %", "0.091", "better a rose"):
        assert what in page.text, what
    for what in ("8 images look alike", "One caption of 9 images", "and 3 more", "the command"):
        assert what in page.text, what
    headings = ("Warnings", "Left out", "Losses of right", "Comparison with", "2 worst pairs")
    headings += ("Duplicates", "How to read", "Facts")
    places = [page.text.index(heading) for heading in headings]
    assert places == sorted(places)
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) == 1


@pytest.mark.usefixtures("no_figure")
def test_suggestions_are_shown_for_pairs_judged_wrong():
    shades = [Image.new("L", (4, 4), shade) for shade in (10, 20, 30)]
    result = photographs(
        shades,
        ["one", "two", "three"],
        better_caption=np.array([2, 0, 0]),
        better_image=np.array([1, 0, 0]),
        shown=2,
    )
    result.judgement.clean_probability[1:] = [0.6, 0.7]
    page = page_of(result)
    sizes = [
        np.asarray(jpeg(a["src"]))[0, 0, 0] for a in page.all("img") if a["alt"][:5] == "Image"
    ]
    assert sizes == [10, 20, 20]
    assert page.text.count("Suggested") == 2
    suggestion = page.text[page.text.index("Suggested caption:") : page.text.index("2 1")]
    assert "three" in suggestion


def test_hostile_texts_are_shown_and_nothing_else():
    harmless = page_of(full("a&nbsp;rose"))  # has markup, as the hostile text
    hostile = page_of(full(HOSTILE))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    assert hostile.text.count(HOSTILE) >= 6
    assert [a["alt"] for a in hostile.all("img")].count(f"Image {HOSTILE}") == 15
    assert not any(key.startswith("on") for _, attributes in hostile.tags for key in attributes)


def test_the_page_loads_nothing_and_runs_nothing():
    html = report_html(full(HOSTILE), {HOSTILE: HOSTILE})
    page = Page(html)
    assert len(page.addresses()) == 17  # the figure twice, and thumbnails
    assert all(address.startswith("data:image/") for address in page.addresses())
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert all(attributes["alt"] for attributes in page.all("img"))


def test_the_figure_loads_nothing_either():
    page = page_of(regions())
    (uri,) = (attributes["src"] for attributes in page.all("img"))
    svg = base64.b64decode(uri.removeprefix("data:image/svg+xml;base64,")).decode()
    figure = Page(svg)
    links = [v for _, a in figure.tags for k, v in a.items() if k in ("href", "xlink:href", "src")]
    assert all(link.startswith("#") for link in links)
    assert svg.count("url(") == svg.count("url(#")
    assert {"loss of the pair (larger: worse match)", "pairs", "all pairs"} <= set(figure.texts)
    assert "#010203" not in svg
    assert "prefers-color-scheme:dark" in svg


@pytest.mark.usefixtures("no_figure")
def test_thumbnails_are_small_and_keep_their_shape():
    turned = picture(400, 200)
    turned.getexif()[0x0112] = 6  # lies on its side
    file = io.BytesIO()
    turned.save(file, "JPEG", exif=turned.getexif())
    shapes = [(1000, 500), (30, 20), (3, 900)]
    images = [*(picture(*shape) for shape in shapes), picture(500, 400).convert("RGBA")]
    page = page_of(photographs([*images, {"bytes": file.getvalue(), "path": None}]))
    sizes = [jpeg(a["src"]).size for a in page.all("img")[1:6]]
    assert sizes == [(200, 100), (30, 20), (1, 200), (200, 160), (100, 200)]


@pytest.mark.usefixtures("no_figure")
def test_transparent_pictures_stand_on_white():
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    page = page_of(photographs([clear]))
    assert np.asarray(jpeg(page.all("img")[1]["src"])).min() > 250


@pytest.mark.usefixtures("no_figure")
def test_a_damaged_picture_is_said_to_be_damaged():
    file = io.BytesIO()
    picture().save(file, "PNG")
    page = page_of(photographs([{"bytes": file.getvalue()[:-3000], "path": None}]))
    assert "image does not decode" in page.text
    assert len(page.all("img")) == 1  # the figure


@pytest.mark.usefixtures("no_figure")
def test_endless_and_odd_captions():
    assert shorten("a" * 1000, 400) == "a" * 400 + " … (600 more characters)"
    captions = ["x" * 100_000, "", "كلب على الشاطئ", "a\x00b\x1bc\u202ee\nf", "👩\u200d🚒 कुत्ता"]
    result = regions(5)
    result.captions[:] = captions
    html = report_html(result, {"bad": "\ud800"})
    page = Page(html)
    assert len(html) < 20_000
    assert "(empty)" in page.text
    assert "a\ufffdb\ufffdc\ufffde\nf" in page.text
    assert "👩\u200d🚒 कुत्ता" in page.text  # joiners stay
    html.encode()  # no surrogate is left
    found = [a for a in page.all("p") if a.get("class", "").startswith("caption")]
    assert len(found) == 5
    assert all(a["dir"] == "auto" for a in found)


@pytest.mark.parametrize(
    ("losses", "random_losses"),
    [
        (np.array([1.5]), np.array([1.0])),
        (np.full(50, 2.0), np.full(5, 2.0)),
        (np.full(50, 1e8), np.array([1e8])),
    ],
)
def test_degenerate_losses(losses, random_losses):
    clean = np.full(len(losses), 0.4)
    result = regions(
        len(losses), losses=losses, random_losses=random_losses, clean_probability=clean
    )
    page = page_of(result)
    assert "Losses of right" in page.text
    assert "nan" not in page.text


def test_bins_part_the_pairs_as_counted_slowly():
    judgement = regions().judgement
    bins = loss_histogram(
        judgement.losses, judgement.random_losses, judgement.clean_probability, SHARE.share
    )
    n_bins = len(bins.pairs)
    for n in range(n_bins):
        low, high = bins.edges[n], bins.edges[n + 1]

        def inside(loss, low=low, high=high, is_last=n == n_bins - 1):
            return low <= loss < high or (is_last and loss == high)

        chosen = [pair for pair, loss in enumerate(judgement.losses) if inside(loss)]
        wrong = sum(map(inside, judgement.random_losses)) / 100 * 0.198 * 200
        assert bins.pairs[n] == len(chosen)
        assert bins.wrong[n] == pytest.approx(wrong)
        if chosen:
            mean = np.mean([judgement.clean_probability[pair] for pair in chosen])
            assert bins.clean_probability[n] == pytest.approx(mean)
        else:
            assert np.isnan(bins.clean_probability[n])
    assert bins.pairs.sum() == 200
    assert bins.wrong.sum() == pytest.approx(0.198 * 200)
    assert not bins.is_cut


def test_outliers_do_not_squeeze_the_rest():
    losses = np.append(np.linspace(0, 1, 5000), 1e6)
    bins = loss_histogram(losses, losses[:5000], np.ones(5001), 0.0)
    assert bins.is_cut
    assert bins.edges[-1] < 2
    assert bins.pairs.sum() == 5001
    assert not bins.wrong.any()
    assert "outermost bars include all" in histogram_svg(bins)


def test_numbers_are_rounded_honestly():
    assert [percent(x) for x in (0, 0.0004, 0.5, 1)] == [
        text.replace(" ", "\N{NO-BREAK SPACE}") for text in ("0.0 %", "0.04 %", "50.0 %", "100.0 %")
    ]
    texts = [probability(x) for x in (0, 0.0004, 0.0125, 0.9999, 1)]
    assert texts == ["0.000", "below 0.001", "0.013", "above 0.999", "1.000"]


@pytest.mark.usefixtures("no_figure")
def test_changes_since_an_earlier_audit_are_told():
    example = {"image_id": HOSTILE, "caption": HOSTILE, "before": 0.9, "after": 0.2}
    counts = dict.fromkeys(("pairs_of_both", "new_pairs", "gone_pairs", "wrong_in_both"), 7)
    changes = counts | {"newly_wrong": 1234, "no_longer_wrong": 5}
    changes |= {"table": HOSTILE, "examples": [example]}
    text = page_of(replace(photographs([picture()]), comparison=changes)).text
    assert "1,234 are newly judged wrong, 5 no longer" in text
    assert text.count(HOSTILE) >= 2  # names of images are shortened


@pytest.mark.usefixtures("no_figure")
def test_other_trouble_is_listed_with_counts_and_examples():
    result = photographs([picture()] * 3, ["IMG_2041.jpg", "http://a.b/c", "a <b>rose</b>"])
    page = page_of(result)
    section = page.text[page.text.index("Other trouble") : page.text.index("How to read")]
    for name, example in {"file_names": "IMG_2041.jpg", "urls": "http://a.b/c"}.items():
        assert name in section
        assert example in section
    assert "a <b>rose</b>" in section
    assert "Other trouble" not in page_of(photographs([picture()])).text
    plain = photographs([picture()])
    unchecked = page_of(replace(plain, options=replace(plain.options, split="train"))).text
    assert "Not looked for: leaked_images (other splits are read only" in unchecked
