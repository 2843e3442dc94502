"""A search from names to files: the answers against a sort of all scores."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPProcessor

from noisy_xmodal import (
    MatchingModel,
    NcrConfig,
    NcrModel,
    RcarModel,
    RcarProcessor,
    train_word_tokenizer,
)
from noisy_xmodal.data import DatasetError, PairDataset
from noisy_xmodal.evaluation.scoring import score_matrix
from noisy_xmodal.models.two_towers import load_two_towers
from noisy_xmodal.search import _direction_of, search
from tiny_backbones import CAPTIONS, backbone_config, picture_dataset, pictures
from tiny_rcar import rcar_config


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with the cache of datasets inside."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def regions(
    place: Path, tiny_config: Any, tiny_processor: Any, tiny_regions_dataset: Any
) -> PairDataset:
    """Region features in `data.parquet`, and in `ncr` and `rcar` models that read them."""
    NcrModel(tiny_config(NcrConfig)).save_pretrained("ncr")
    tiny_processor.save_pretrained("ncr")
    RcarModel(rcar_config()).save_pretrained("rcar")
    RcarProcessor(tiny_processor.image_processor, tiny_processor.tokenizer).save_pretrained("rcar")
    rows = tiny_regions_dataset(12)
    rows.to_parquet("data.parquet")
    return PairDataset(rows)


@pytest.fixture
def clip(place: Path) -> datasets.Dataset:
    """Pictures in `data.parquet`, of which row 2 is broken, and a CLIP in `clip`."""
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    CLIPModel(backbone_config("clip")).save_pretrained("clip")
    processor = CLIPProcessor(CLIPImageProcessorPil(**sizes), train_word_tokenizer(CAPTIONS))
    processor.save_pretrained("clip")
    rows = picture_dataset(6).remove_columns(["image_label", "text_label"])
    raw = rows.cast_column("image", datasets.Image(decode=False)).to_list()
    raw[2]["image"] = {"bytes": b"no picture", "path": None}
    datasets.Dataset.from_list(raw, features=rows.features).to_parquet("data.parquet")
    return rows


def find(*args: Any, **options: Any) -> dict[str, Any]:
    return search(*args, **({"cache_dir": "cache", "progress": False} | options))


def best(scores: np.ndarray, k: int) -> list[int]:
    return np.argsort(-scores, kind="stable")[:k].tolist()


def test_images_are_found_by_words(regions: PairDataset) -> None:
    found = find("ncr", "data.parquet", "red cat", top_k=5, output="deep/out.png")
    scores = score_matrix(*load_two_towers("ncr"), regions.images, ["red cat"])[:, 0]
    rows = best(scores, 5)
    assert [result["row"] for result in found["results"]] == rows
    assert [result["rank"] for result in found["results"]] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose([result["score"] for result in found["results"]], scores[rows], 1e-5)
    first = found["results"][0]
    assert first["image_id"] == f"image {rows[0]}"
    assert first["captions"] == regions.dataset[rows[0]]["captions"]
    assert first["caption"] == first["captions"][0]
    assert found["direction"] == "text_to_image"
    assert found["index"] == {"n": 12}
    assert found["dataset"] == {"name": "data.parquet", "config": None, "split": "train"}
    assert json.loads(Path("deep/out.json").read_text()) == found
    with Image.open(found["grid"]) as grid:
        assert grid.format == "PNG"
        assert grid.width > 500


def test_captions_are_found_by_a_file_of_regions(regions: PairDataset) -> None:
    np.save("query.npy", regions.visuals([4])[0])
    found = find("ncr", "data.parquet", "query.npy", top_k=30, output="out.png")
    model, processor = load_two_towers("ncr")
    scores = score_matrix(model, processor, regions.visuals([4]), regions.captions())[0]
    pairs = best(scores, 30)
    assert found["direction"] == "image_to_text"
    assert len(found["results"]) == 24  # all that there are
    assert [result["pair_id"] for result in found["results"]] == pairs
    for result in found["results"]:
        assert result["caption"] == regions.captions()[result["pair_id"]]
        assert result["row"] == regions.row_of_pair[result["pair_id"]]
        assert result["image_id"] == f"image {result['row']}"


@pytest.mark.parametrize("query", ["a red cat", "query.png"])
def test_any_model_of_transformers_searches_pictures(clip: datasets.Dataset, query: str) -> None:
    pictures(1, seed=8)[0].save("query.png")
    found = find("clip", "data.parquet", query, top_k=20, output="out.png")
    again = find("clip", "data.parquet", query, top_k=20, output="out.png")
    assert again == found
    towers = load_two_towers("clip")
    if query == "query.png":
        captions = [text for own in clip["captions"] for text in own]
        order = best(score_matrix(*towers, [Image.open("query.png")], captions)[0], 20)
        assert [result["pair_id"] for result in found["results"]] == order
        assert found["left_out"] == []  # captions need no pictures
    else:
        scores = score_matrix(*towers, list(clip["image"]), [query])[:, 0]
        order = [row for row in best(scores, 20) if row != 2]
        assert [result["row"] for result in found["results"]] == order
        assert [result["image_id"] for result in found["results"]] == [str(row) for row in order]
        assert len(found["left_out"]) == 1
        assert found["left_out"][0].startswith("2: not a picture that Pillow can read")
    assert not any("tokens" in note for note in found["notes"])
    with Image.open("out.png") as grid:
        assert grid.format == "PNG"


def test_texts_that_are_not_read_to_their_end_are_noted(clip: datasets.Dataset) -> None:
    limit = backbone_config("clip").text_config.max_position_embeddings
    found = find("clip", "data.parquet", "red cat " * limit, output="out.png")
    assert f"The query has more than {limit} tokens and is truncated." in found["notes"]
    texts = [[*own, "red cat " * limit] for own in clip["captions"]]
    n_texts = sum(map(len, texts))
    kind = clip.features["captions"]
    clip.remove_columns("captions").add_column("captions", texts, feature=kind).to_parquet(
        "long.parquet"
    )
    pictures(1, seed=8)[0].save("query.png")
    for _ in range(2):  # counted, then read from the cache
        found = find("clip", "long.parquet", "query.png", output="out.png")
        line = f"{len(clip)} of {n_texts} captions have more than {limit} tokens and are"
        assert [note[: len(line)] for note in found["notes"]] == [line]


def test_a_folder_with_an_empty_caption_is_searched_without_it(clip: datasets.Dataset) -> None:
    for shade, name in enumerate(["a.png", "b.png", "c.png"]):
        Image.new("RGB", (32, 32), (80 * shade, 0, 0)).save(name)
    Path("table.csv").write_text("file_name,text\na.png,a red cat\nb.png,\nc.png,a dog\n")
    found = find("clip", "table.csv", "a red cat", output="out.png")
    assert sorted(result["image_id"] for result in found["results"]) == ["a.png", "c.png"]
    assert found["left_out"] == ["row 1 of train (b.png): its caption is empty"]


def test_pictures_are_found_by_what_they_are_now(clip: datasets.Dataset) -> None:
    """A broken one is repaired, one is replaced under its name, and the folder is copied."""
    folder = Path("photos")
    folder.mkdir()
    for number, picture in enumerate(pictures(4, seed=3)):
        picture.save(folder / f"{number}.bmp")
    whole = (folder / "1.bmp").read_bytes()
    (folder / "1.bmp").write_bytes(b"broken")
    lines = [f"{number}.bmp,{text}" for number, text in enumerate(["a cat", "a dog", "a", "b"])]
    (folder / "table.csv").write_text("\n".join(["file_name,text", *lines]))
    towers = load_two_towers("clip")

    def check(place: Path, rows: list[int]) -> None:
        found = find("clip", place, "a red cat", top_k=9, output="out.png")
        shown = [Image.open(folder / f"{row}.bmp").convert("RGB") for row in rows]
        scores = score_matrix(*towers, shown, ["a red cat"])[:, 0]
        order = best(scores, 9)
        assert [answer["row"] for answer in found["results"]] == [rows[at] for at in order]
        found_scores = [answer["score"] for answer in found["results"]]
        np.testing.assert_allclose(found_scores, scores[order], rtol=1e-5)
        assert len(found["left_out"]) == 4 - len(rows)

    check(folder, [0, 2, 3])
    (folder / "1.bmp").write_bytes(whole)
    check(folder, [0, 1, 2, 3])
    shutil.copy(folder / "3.bmp", folder / "0.bmp")
    check(folder, [0, 1, 2, 3])
    shutil.copytree(folder, "copy")
    check(Path("copy"), [0, 1, 2, 3])
    vectors = Path("cache/noisy_xmodal_vectors").glob("*.npy")
    assert len(list(vectors)) == 3, "the copy is answered from the vectors of the folder"


@pytest.mark.parametrize("query", ["red cat", "query.npy"])
def test_a_model_of_joint_passes_puts_the_shortlist_in_order(
    regions: PairDataset, query: str
) -> None:
    np.save("query.npy", regions.visuals([4])[0])
    plain = find("ncr", "data.parquet", query, top_k=7, output="out.png")["results"]
    found = find(
        "ncr", "data.parquet", query, top_k=3, reranker="rcar", shortlist=7, output="out.png"
    )["results"]
    model, reads = RcarModel.from_pretrained("rcar").eval(), RcarProcessor.from_pretrained("rcar")
    scores = []
    for answer in plain:
        if query == "query.npy":
            image, text = regions.visuals([4])[0], answer["caption"]
        else:
            image, text = regions.visuals([answer["row"]])[0], query
        with torch.no_grad():
            alone = model.score(
                model.encode_image(**reads(images=[image])), model.encode_text(**reads(text=[text]))
            )
        scores.append(alone.sigmoid().item())
    order = best(np.array(scores), 3)
    assert order != [0, 1, 2]  # else the order would say nothing
    name = "pair_id" if query == "query.npy" else "row"
    assert [result[name] for result in found] == [plain[at][name] for at in order]
    assert [result["retrieval_rank"] for result in found] == [at + 1 for at in order]
    np.testing.assert_allclose(
        [result["score"] for result in found], [scores[at] for at in order], atol=1e-5
    )
    assert [result["retrieval_score"] for result in found] == [plain[at]["score"] for at in order]


def test_boxes_are_kept_from_a_model_that_reads_none(
    regions: PairDataset, tiny_config: Any
) -> None:
    bare = find("ncr", "data.parquet", "red cat", output="out.png")["results"]
    longer = [np.hstack([each, np.full((len(each), 4), 9.0)]).tolist() for each in regions.images]
    boxed = regions.dataset.remove_columns("regions").add_column("regions", longer)
    boxed = boxed.cast_column("regions", datasets.Array2D((None, 8), "float32"))
    boxed.to_parquet("boxed.parquet")
    assert find("ncr", "boxed.parquet", "red cat", output="out.png")["results"] == bare


def test_vectors_are_made_once_and_anew_for_other_weights(
    regions: PairDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    encode = NcrModel.get_image_features

    def counted(self: NcrModel, **inputs: Any) -> Any:
        sizes.append(len(inputs["regions"]))
        return encode(self, **inputs)

    monkeypatch.setattr(NcrModel, "get_image_features", counted)
    first = find("ncr", "data.parquet", "red cat", output="out.png")
    assert sizes == [12]
    find("ncr", "data.parquet", "blue dog", output="out.png")
    assert sizes == [12]
    model = NcrModel.from_pretrained("ncr")
    model.peer_a.image_encoder.get_parameter("projection.weight").data.neg_()
    model.save_pretrained("ncr")
    other = find("ncr", "data.parquet", "red cat", output="out.png")
    assert sizes == [12, 12]
    assert [r["score"] for r in other["results"]] != [r["score"] for r in first["results"]]


@pytest.mark.parametrize(
    ("query", "direction", "expected"),
    [
        ("a dog", "auto", "text_to_image"),
        ("here", "text_to_image", "text_to_image"),
        ("drawn", "auto", "image_to_text"),  # a picture without an ending
        ("two words.png", "auto", "image_to_text"),  # a file that is there
        ("no file of that.png", "auto", "text_to_image"),
        ("missing.JPG", "auto", "image_to_text"),
        ("regions.npy", "auto", "image_to_text"),
        (Path("here"), "auto", "image_to_text"),
        ("a dog", "image_to_text", "image_to_text"),
        ("missing.jpg", "text_to_image", "text_to_image"),
        ("dog " * 2000, "auto", "text_to_image"),
    ],
)
def test_directions(query: str | Path, direction: str, expected: str, place: Path) -> None:
    (place / "here").touch()
    (place / "two words.png").touch()
    Image.new("RGB", (2, 2)).save(place / "drawn", "png")
    assert _direction_of(query, direction) == expected


def test_a_query_that_is_a_file_and_no_picture_is_refused(place: Path) -> None:
    (place / "red").write_text("notes")
    with pytest.raises(ValueError, match=r"is the file red, .*--direction text_to"):
        _direction_of("red", "auto")


def test_errors_say_what_to_do(
    regions: PairDataset, tiny_config: Callable[..., Any], tiny_processor: Any
) -> None:
    with pytest.raises(ValueError, match=r"ends in \.png"):
        find("ncr", "data.parquet", "cat", output="out.jpg")
    with pytest.raises(ValueError, match="top_k is 0"):
        find("ncr", "data.parquet", "cat", top_k=0)
    with pytest.raises(ValueError, match="query is empty"):
        find("ncr", "data.parquet", " ")
    with pytest.raises(ValueError, match="direction is 'images'"):
        find("ncr", "data.parquet", "cat", direction="images")
    with pytest.raises(FileNotFoundError, match=r"missing\.npy"):
        find("ncr", "data.parquet", "missing.npy")
    np.save("vector.npy", np.ones(8, np.float32))
    with pytest.raises(ValueError, match=r"vector\.npy has the shape \(8,\).*\(n_regions, size\)"):
        find("ncr", "data.parquet", "vector.npy")
    assert not Path("cache").exists()  # before anything is encoded
    with pytest.raises(DatasetError, match=r"no split 'dev'.*\['train'\]"):
        find("ncr", "data.parquet", "cat", split="dev")
    with pytest.raises(ValueError, match=r"RcarModel.*as the reranker"):
        find("rcar", "data.parquet", "cat")
    with pytest.raises(ValueError, match="NcrModel, which does not score single pairs"):
        find("ncr", "data.parquet", "cat", reranker="ncr")
    MatchingModel(tiny_config(similarity="sgr")).save_pretrained("sgr")
    with pytest.raises(ValueError, match="similarity 'sgr'"):
        find("sgr", "data.parquet", "cat")


def test_a_model_of_pictures_does_not_read_regions(
    clip: datasets.Dataset, tiny_regions_dataset: Any
) -> None:
    tiny_regions_dataset(3).to_parquet("regions.parquet")
    with pytest.raises(ValueError, match="takes pictures, but the images are region features"):
        find("clip", "regions.parquet", "cat")
    buffer = io.BytesIO(b"bad")
    rows = [{"image": {"bytes": buffer.getvalue(), "path": None}, "caption": "a cat"}]
    kinds = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    datasets.Dataset.from_list(rows, features=kinds).to_parquet("bad.parquet")
    with pytest.raises(DatasetError, match=r"None of the 1 images .*row 0: not a picture"):
        find("clip", "bad.parquet", "cat")
    rows[0]["caption"] = " "
    datasets.Dataset.from_list(rows, features=kinds).to_parquet("blank.parquet")
    with pytest.raises(DatasetError, match=r"blank\.parquet has no usable row: row 0 of train"):
        find("clip", "blank.parquet", "cat")
