"""A trained model of images and texts as a sentence-transformers module.

Only this file imports sentence-transformers. `modules.json` of an exported folder refers to the
class by its path, so neither file nor class may be renamed.
"""

from collections.abc import Sequence
from typing import Any

from sentence_transformers.base.modality import infer_batch_modality
from sentence_transformers.base.modules import InputModule
from torch import Tensor
from transformers import AutoModel, AutoProcessor, PreTrainedModel, ProcessorMixin

from ..models.common_space.configuration_common_space import CommonSpaceConfig
from ..models.matching.configuration_peers import PeersConfig
from ..modules.list_inputs import check_list

_MODALITIES = ["text", "image"]


class ImageTextEncoder(InputModule):
    """Returns the unit vectors of the model's `get_text_features` and `get_image_features`.

    Args:
        model: A two-tower model of images and texts.
        processor: Its processor.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin) -> None:
        super().__init__()
        self.model = model
        self.processor = processor

    @property
    def modalities(self) -> list[str]:
        """Inputs of `encode`: texts, and images as PIL images, arrays or paths."""
        return list(_MODALITIES)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the processor."""
        return self.processor.tokenizer

    @property
    def max_seq_length(self) -> int:
        """Maximum number of tokens of a text."""
        return self.tokenizer.model_max_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        self.tokenizer.model_max_length = value

    def get_embedding_dimension(self) -> int:
        """Dimension of the vectors; peers concatenate theirs."""
        config = self.model.config
        if isinstance(config, CommonSpaceConfig):
            return config.canonical_size or config.embedding_size
        return config.hidden_size * (2 if isinstance(config, PeersConfig) else 1)

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Prepare a batch of texts or a batch of images.

        Args:
            inputs: Texts or images; sentence-transformers detects the modality.
            prompt: Prefix of each text.
            kwargs: Other arguments of sentence-transformers, such as `task`; not used.

        Raises:
            ValueError: If `processing_kwargs` are passed, or the batch is neither texts nor images.
        """
        if kwargs.get("processing_kwargs"):
            raise ValueError(
                f"`processing_kwargs` has {sorted(kwargs['processing_kwargs'])}: a model of "
                "noisy_xmodal prepares images and texts by its own processor. Change "
                "`model[0].processor` or `model.max_seq_length`."
            )
        check_list(inputs, "inputs")
        modality = infer_batch_modality(list(inputs), supported_modalities=self.modalities)
        values = [item[modality] if isinstance(item, dict) else item for item in inputs]
        if modality == "image":
            return {"modality": modality, **self.processor(images=values)}
        if modality != "text" or not all(isinstance(value, str) for value in values):
            raise ValueError(f"the batch is {modality!r}: pass only texts or only images.")
        return {"modality": modality, **self.processor(text=[(prompt or "") + v for v in values])}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add `sentence_embedding`, (n, dimension), to the output of `preprocess`."""
        inputs = {name: value for name, value in features.items() if isinstance(value, Tensor)}
        is_image = features["modality"] == "image"
        embed = self.model.get_image_features if is_image else self.model.get_text_features
        return features | {"sentence_embedding": embed(**inputs)}

    def save(
        self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any
    ) -> None:
        """Save the model as safetensors, and the processor."""
        self.model.save_pretrained(output_path)
        self.processor.save_pretrained(output_path)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        model_kwargs: dict[str, Any] | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        backend: str = "torch",
        **kwargs: Any,
    ) -> "ImageTextEncoder":
        """Load a module from a folder or the Hub; the arguments are those of `SentenceTransformer`.

        Raises:
            ValueError: If `backend` is not "torch".
        """
        if backend != "torch":
            raise ValueError(f"`backend` is {backend!r}: models of noisy_xmodal only run in torch.")
        source = {
            "subfolder": subfolder,
            "token": token,
            "cache_dir": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        options = source | (config_kwargs or {}) | (model_kwargs or {})
        model = AutoModel.from_pretrained(model_name_or_path, **options)
        processor = AutoProcessor.from_pretrained(
            model_name_or_path, **(source | (processor_kwargs or {}))
        )
        return cls(model, processor)
