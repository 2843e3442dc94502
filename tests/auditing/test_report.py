"""The report as a reader and a browser would take it."""

import base64
import dataclasses
import io
import os
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from noisy_xmodal.auditing.contents import AuditContents, DoubtfulPair, Duplicates
from noisy_xmodal.auditing.report import report_html, write_report
from noisy_xmodal.auditing.report_page import escape_text, percent, probability
from noisy_xmodal.auditing.report_plot import mixture_bins, mixture_svg

VOID = {"meta", "img", "source", "br", "link"}
HOSTILE = (
    "</p></li><script>alert(1)</script><img src='http://evil.example/x.png' onerror=\"run()\">"
    "<style>@import url(http://evil.example)</style> & &amp;"
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


def picture(width: int = 400, height: int = 300, mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height)).convert(mode)


def contents(**changes) -> AuditContents:
    rng = np.random.default_rng(0)
    losses = rng.gamma(3, 0.4, 200)
    base = AuditContents(
        dataset="flowers, cmp_20, train",
        judge="Judged by a model.",
        how="It never saw them.",
        n_images=120,
        losses=losses,
        random_losses=rng.normal(3, 0.5, 100),
        clean_probability=1 / (1 + np.exp(3 * (losses - 2))),
        wrong_share=0.198,
        wrong_interval=(0.191, 0.206),
        confidence=0.95,
        worst=[],
    )
    return dataclasses.replace(base, **changes)


def without_figure(**changes) -> AuditContents:
    """Drawing takes most of the time."""
    return contents(losses=np.array([]), clean_probability=np.array([]), **changes)


def jpeg(uri: str) -> Image.Image:
    start = "data:image/jpeg;base64,"
    assert uri.startswith(start)
    return Image.open(io.BytesIO(base64.b64decode(uri[len(start) :], validate=True)))


def full_contents(text: str = "a rose") -> AuditContents:
    pairs = [
        DoubtfulPair(
            7, text, text, 0.0125, 4.25, picture(), f"better {text}", f"other {text}", picture(9, 8)
        ),
        DoubtfulPair(8, "8.jpg", "no picture", 0.3, 3.0),
    ]
    return contents(
        dataset=text,
        judge=text,
        how=text,
        worst=pairs,
        duplicates=[
            Duplicates("picture", "", [text, "b"], 5, [picture(), picture(10, 900)]),
            Duplicates("caption", text, ["c"], 1234),
        ],
        left_out=[text],
        warnings=[text],
        oracle={"auroc": 0.9876, "precision_at_100": 0.5, "precision_at_500": None}
        | {"average_precision": 0.75, "true_share": 0.2},
        facts={text: text},
    )


def test_the_answer_comes_first():
    given = contents()
    text = Page(report_html(given)).text
    n_wrong = sum(probability < 0.5 for probability in given.clean_probability.tolist())
    assert "About 19.8 % of the 200 pairs are wrong (19.1 to 20.6 %)" in text
    assert f"{n_wrong}judged wrong" in text
    assert "120images" in text
    assert "95 % interval" in text
    assert 0 < text.index("flowers") < text.index("About") < text.index("Judged by a model.")


def test_a_share_that_is_unknown_is_called_so_with_its_upper_bound():
    unknown = contents(wrong_share=None, wrong_interval=(0.0, 0.875), oracle={"true_share": 0.2})
    text = Page(report_html(unknown)).text
    assert "How many of the 200 pairs are wrong is unknown (at most 87.5 %)" in text
    assert "does not distinguish them from random pairs" in text
    assert "scaled to at most 87.5 % of the pairs" in text
    assert "without the truthunknown" in text.replace(" ", "").replace(
        "withoutthetruth", "without the truth"
    )
    for word in ("None", "nan", "About", "interval"):
        assert word not in text


def test_everything_is_shown_in_its_order():
    page = Page(report_html(full_contents()))
    for what in ("0.9876", "0.988", "0.750", "0.500", "too few pairs", "20.0 %", "19.8 %"):
        assert (what in page.text) == (what != "0.9876"), what
    for what in ("0.013", "4.250", "better a rose", "other a rose", "and 3 more", "1,234 images"):
        assert what in page.text, what
    headings = ("Warnings", "Left out", "Losses of right", "Comparison with", "2 worst pairs")
    headings += ("Duplicates", "How to read", "Facts")
    places = [page.text.index(heading) for heading in headings]
    assert places == sorted(places)
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) == 1


def test_hostile_texts_are_shown_and_nothing_else():
    harmless, hostile = (
        Page(report_html(full_contents())),
        Page(report_html(full_contents(HOSTILE))),
    )
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    assert hostile.text.count(HOSTILE) >= 6
    assert [a["alt"] for a in hostile.all("img")].count(f"Image {HOSTILE}") == 2
    assert not any(key.startswith("on") for _, attributes in hostile.tags for key in attributes)


def test_the_page_loads_nothing_and_runs_nothing():
    html = report_html(full_contents(HOSTILE))
    page = Page(html)
    assert len(page.addresses()) == 6  # the figure twice, and four thumbnails
    assert all(address.startswith("data:image/") for address in page.addresses())
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert all(attributes["alt"] for attributes in page.all("img"))


def test_the_figure_loads_nothing_either():
    page = Page(report_html(contents()))
    (uri,) = (attributes["src"] for attributes in page.all("img"))
    svg = base64.b64decode(uri.removeprefix("data:image/svg+xml;base64,")).decode()
    figure = Page(svg)
    links = [v for _, a in figure.tags for k, v in a.items() if k in ("href", "xlink:href", "src")]
    assert all(link.startswith("#") for link in links)
    assert svg.count("url(") == svg.count("url(#")
    assert {"loss of the pair (larger: worse match)", "pairs", "all pairs"} <= set(figure.texts)
    assert "#010203" not in svg
    assert "prefers-color-scheme:dark" in svg


def test_thumbnails_are_small_and_keep_their_shape():
    photographs = [picture(1000, 500), picture(30, 20), picture(3, 900)]
    photographs.append(picture(500, 400).convert("RGBA"))
    turned = picture(400, 200)
    turned.getexif()[0x0112] = 6  # lies on its side
    photographs.append(turned)
    pairs = [DoubtfulPair(n, str(n), "x", 0.1, 1.0, p) for n, p in enumerate(photographs)]
    page = Page(report_html(without_figure(worst=pairs)))
    sizes = [jpeg(a["src"]).size for a in page.all("img")]
    assert sizes == [(200, 100), (30, 20), (1, 200), (200, 160), (100, 200)]
    assert photographs[0].size == (1000, 500)  # left as they were


def test_transparent_pictures_stand_on_white():
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    page = Page(report_html(without_figure(worst=[DoubtfulPair(0, "a", "x", 0.1, 1.0, clear)])))
    (thumbnail,) = (jpeg(a["src"]) for a in page.all("img"))
    assert np.asarray(thumbnail).min() > 250


def test_a_damaged_picture_is_said_to_be_damaged():
    file = io.BytesIO()
    picture().save(file, "PNG")
    damaged = Image.open(io.BytesIO(file.getvalue()[:-3000]))
    page = Page(report_html(without_figure(worst=[DoubtfulPair(0, "a", "x", 0.1, 1.0, damaged)])))
    assert "image does not decode" in page.text
    assert page.all("img") == []


def test_endless_and_odd_captions():
    assert escape_text("a" * 1000, 400) == "a" * 400 + " … (600 more characters)"
    assert escape_text("a\x00b\x1bc\ud800d\u202ee\nf") == "a\ufffdb\ufffdc\ufffdd\ufffde\nf"
    assert escape_text("👩\u200d🚒 कुत्ता") == "👩\u200d🚒 कुत्ता"  # joiners stay
    pairs = [
        DoubtfulPair(n, "i" * 5000, caption, float("nan"), float("inf"))
        for n, caption in enumerate(["x" * 100_000, "", "كلب على الشاطئ", "\ud800"])
    ]
    html = report_html(without_figure(worst=pairs))
    page = Page(html)
    assert len(html) < 20_000
    assert "(empty)" in page.text
    assert "unknown" in page.text
    captions = [a for a in page.all("p") if a.get("class", "").startswith("caption")]
    assert len(captions) == 4
    assert all(a["dir"] == "auto" for a in captions)


@pytest.mark.parametrize(
    ("losses", "random_losses"),
    [
        (np.array([1.5]), np.array([])),
        (np.full(50, 2.0), np.full(5, 2.0)),
        (np.full(50, 1e8, dtype=np.float32), np.array([])),
        (np.array([np.nan, 1.0, np.inf]), np.array([np.nan])),
        (np.array([]), np.array([1.0])),
        (np.array([np.nan]), np.array([])),
    ],
)
def test_degenerate_losses(losses, random_losses):
    given = contents(
        losses=losses,
        random_losses=random_losses,
        clean_probability=np.full(len(losses), 0.4),
        wrong_interval=(float("nan"), float("nan")),
    )
    page = Page(report_html(given))
    assert ("Losses of right" in page.text) == bool(np.isfinite(losses).any())
    assert ("No pair was judged" in page.text) == (len(losses) == 0)
    assert "nan" not in page.text
    assert ("the 1 pair is wrong" in page.text) == (len(losses) == 1)


def test_bins_part_the_pairs_as_counted_slowly():
    given = contents()
    bins = mixture_bins(
        given.losses, given.random_losses, given.clean_probability, given.wrong_share
    )
    n_bins = len(bins.pairs)
    for n in range(n_bins):
        low, high = bins.edges[n], bins.edges[n + 1]

        def inside(loss, low=low, high=high, is_last=n == n_bins - 1):
            return low <= loss < high or (is_last and loss == high)

        chosen = [pair for pair, loss in enumerate(given.losses) if inside(loss)]
        wrong = sum(map(inside, given.random_losses)) / 100 * 0.198 * 200
        assert bins.pairs[n] == len(chosen)
        assert bins.wrong[n] == pytest.approx(wrong)
        assert bins.right[n] == pytest.approx(max(len(chosen) - wrong, 0))
        if chosen:
            mean = np.mean([given.clean_probability[pair] for pair in chosen])
            assert bins.clean_probability[n] == pytest.approx(mean)
        else:
            assert np.isnan(bins.clean_probability[n])
    assert bins.pairs.sum() == 200
    assert bins.wrong.sum() == pytest.approx(0.198 * 200)
    assert not bins.is_cut


def test_outliers_do_not_squeeze_the_rest():
    losses = np.append(np.linspace(0, 1, 5000), 1e6)
    bins = mixture_bins(losses, np.array([]), np.ones(5001), 0.1)
    assert bins.is_cut
    assert bins.edges[-1] < 2
    assert bins.pairs.sum() == 5001
    assert not bins.wrong.any()
    assert "outermost bars include all" in mixture_svg(bins)


def test_numbers_are_rounded_honestly():
    assert [percent(x) for x in (0, 0.0004, 0.5, 1)] == [
        text.replace(" ", "\N{NO-BREAK SPACE}") for text in ("0.0 %", "0.04 %", "50.0 %", "100.0 %")
    ]
    texts = [probability(x) for x in (0, 0.0004, 0.0125, 0.9999, 1)]
    assert texts == ["0.000", "below 0.001", "0.013", "above 0.999", "1.000"]


def test_losses_and_probabilities_must_be_of_the_same_pairs():
    with pytest.raises(ValueError, match=r"shape \(200,\), but clean_probability has shape \(3,\)"):
        report_html(contents(clean_probability=np.ones(3)))


def test_a_report_is_whole_or_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "new" / "audit.html"
    write_report(path, contents())
    first = path.read_bytes()
    assert first.decode("utf-8") == report_html(contents())  # the same each time

    def killed(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_report(path, without_figure(dataset="another"))
    assert path.read_bytes() == first
    write_report(str(path), without_figure(dataset="another"))
    assert b"another" in path.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == ["audit.html"]
