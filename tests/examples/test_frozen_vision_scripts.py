"""A frozen vision model in the training scripts: outputs made once, and a model of pictures."""

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from transformers import AutoModel, AutoProcessor

from example_scripts import script
from noisy_xmodal import PairDataset, RetrievalEvaluator
from noisy_xmodal.evaluation import score_matrix
from noisy_xmodal.evaluation.grids import with_grids
from noisy_xmodal.models.matching.modeling_peers import PeersModel
from tiny_backbones import picture_dataset, save_encoders

TINY = {
    "train_ncr": ["--hidden_size", "8", "--word_size", "8", "--warmup_epochs", "1"],
    "train_rcar": ["--hidden_size", "8", "--num_attention_heads", "2", "--mlm_epochs", "0"],
}
TINY["train_rcar"] += ["--warmup_epochs", "1", "--negatives_per_positive", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with captions, and encoders."""
    root = tmp_path_factory.mktemp("pictures")
    save_encoders(root)
    for number, (name, n) in enumerate({"train": 16, "validation": 6, "test": 6}.items()):
        rows = picture_dataset(n, number).remove_columns(["image_label", "text_label"])
        rows.to_parquet(root / f"{name}.parquet")
    return root


@pytest.mark.parametrize("name", ["train_ncr", "train_rcar"])
def test_a_saved_model_reads_pictures_and_scores_as_in_training(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    argv = ["--dataset_name", str(data), "--output_dir", str(tmp_path / "out"), *TINY[name]]
    argv += ["--vision_model_name_or_path", str(data / "vision"), "--num_train_epochs", "2"]
    argv += ["--per_device_train_batch_size", "8", "--disable_tqdm", "True", "--use_cpu", "True"]
    results = script(name).main(argv)
    assert results["arguments"]["vision_training"] == "frozen"  # of the small recipe
    kept = sorted((tmp_path / "cache/noisy_xmodal_vectors").glob("*-grid.npy"))
    assert sorted(len(np.load(path)) for path in kept) == [6, 6, 16]

    parts = (auto.from_pretrained(tmp_path / "out") for auto in (AutoModel, AutoProcessor))
    model, processor = parts
    before = AutoModel.from_pretrained(data / "vision").state_dict()
    for key, value in model.frozen_vision_encoder.backbone.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
    pairs = PairDataset(Dataset.from_parquet(str(data / "test.parquet")))
    cells = with_grids(model, processor, pairs)
    measured = RetrievalEvaluator(processor)(model.eval(), cells)
    assert measured == pytest.approx({k: results["best"]["test"][k] for k in measured})
    scores = [score_matrix(model, processor, one.images, one.captions()) for one in (cells, pairs)]
    np.testing.assert_allclose(*scores, atol=5e-3)
    if isinstance(model, PeersModel):
        assert model.peer_a.image_encoder.backbone is model.peer_b.image_encoder.backbone
