"""Text encoders: a GRU over words, word embeddings, or any transformers text model."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import AutoModel, PreTrainedConfig

from .backbones import length_limit
from .bert_layers import last_layers, without_last_layers
from .dropout import Dropout
from .encoded import Encoded
from .stored_outputs import StoredOutputs, token_digests
from .text_states import read_by_length, text_states


class GruEncoder(nn.Module):
    """Word embeddings and a GRU; its state after the last word has read the whole text.

    Source: VSE++ (Faghri et al., BMVC 2018), section 3.1; dropout on the words as in SGRAF.

    Args:
        vocab_size: Number of words of the tokenizer.
        word_size: Size of a word's embedding.
        hidden_size: Size of the joint space.
        dropout: Dropout on the word embeddings.
        normalize: Whether every token is scaled to unit length.
    """

    is_bidirectional: ClassVar[bool] = False

    def __init__(
        self,
        vocab_size: int,
        word_size: int,
        hidden_size: int,
        dropout: float = 0.4,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, word_size)
        self.dropout = Dropout(dropout)
        self.gru = nn.GRU(
            word_size, hidden_size, batch_first=True, bidirectional=self.is_bidirectional
        )
        self.normalize = normalize

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Encode word ids (n, length), padded on the right; the mask is 1 for real tokens."""
        words = self.dropout(self.words(input_ids))  # (n, length, word_size)
        lengths = attention_mask.sum(dim=1).clamp(min=1).cpu()  # (n,)
        packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
        output, _ = self.gru(packed)
        tokens, _ = pad_packed_sequence(
            output, batch_first=True, total_length=input_ids.shape[1]
        )  # (n, length, hidden or 2 * hidden)
        if self.is_bidirectional:
            forward, backward = tokens.chunk(2, dim=-1)
            tokens = (forward + backward) / 2  # (n, length, hidden)
        if self.normalize:
            tokens = functional.normalize(tokens, dim=-1)
        return Encoded(tokens, attention_mask.bool())


class BiGruEncoder(GruEncoder):
    """Word embeddings and a bidirectional GRU whose two outputs are averaged.

    Source: SCAN (Lee et al., ECCV 2018), section 3.3. For the arguments see `GruEncoder`.
    """

    is_bidirectional = True


class WordEncoder(nn.Module):
    """Word embeddings without context: the cheapest text encoder, for heads that pool.

    Args:
        vocab_size: Number of words of the tokenizer.
        word_size: Size of a word's embedding.
        hidden_size: Size of the joint space; a linear projection is added if it is not `word_size`.
        dropout: Dropout on the word embeddings.
        normalize: Whether every token is scaled to unit length.
    """

    def __init__(
        self,
        vocab_size: int,
        word_size: int,
        hidden_size: int,
        dropout: float = 0.4,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, word_size)
        self.dropout = Dropout(dropout)
        self.projection = (
            nn.Identity() if word_size == hidden_size else nn.Linear(word_size, hidden_size)
        )
        self.normalize = normalize

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Encode word ids (n, length); the mask is 1 for real tokens."""
        tokens = self.projection(self.dropout(self.words(input_ids)))  # (n, length, hidden)
        if self.normalize:
            tokens = functional.normalize(tokens, dim=-1)
        return Encoded(tokens, attention_mask.bool())


class TransformerTextEncoder(nn.Module):
    """Any transformers text model, projected into the joint space.

    Without `words`, the tokens are the projected token states. With `words`, a token is its vector
    by that word-level encoder plus the projection of the sentence vector, which is the mean of the
    token states at unit length.

    A frozen model has no gradients and stays in eval mode. Its outputs are read from `stored`, as
    far as they are there; see `noisy_xmodal.evaluation.store_text_outputs`. Layers on top of it
    are trained: what is stored are then the token states below them.

    Args:
        config: Configuration of any text model that `AutoModel` builds.
        hidden_size: Size of the joint space; None for tokens that are not projected.
        normalize: Whether every token is scaled to unit length.
        words: Word-level encoder of the same token ids, without normalisation.
        is_frozen: Whether the text model is frozen.
        n_top: Number of its last layers that are trained nevertheless, see `bert_layers`.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        hidden_size: int | None,
        normalize: bool = True,
        words: nn.Module | None = None,
        is_frozen: bool = False,
        n_top: int = 0,
    ) -> None:
        super().__init__()
        below = without_last_layers(config, n_top) if n_top else config
        self.backbone = AutoModel.from_config(below)
        self.top = last_layers(config, n_top) if n_top else None
        self.size = config.hidden_size
        self.projection = (
            nn.Identity() if hidden_size is None else nn.Linear(self.size, hidden_size)
        )
        self.words = words
        self.normalize = normalize
        self.is_frozen = is_frozen
        self.stored = StoredOutputs()
        self.train(self.training)

    def train(self, mode: bool = True) -> "TransformerTextEncoder":
        """Switch the mode; a frozen text model stays in eval mode and has no gradients."""
        super().train(mode)
        if self.is_frozen:
            self.backbone.eval().requires_grad_(False)
        return self

    def share_backbone(self, other: "TransformerTextEncoder") -> None:
        """Use the frozen text model of another encoder, and what is stored of it."""
        self.backbone, self.stored = other.backbone, other.stored

    @property
    def length_limit(self) -> int | None:
        """Maximum number of tokens; None without a limit."""
        return length_limit(self.backbone)

    @property
    def stored_kind(self) -> str:
        """What is stored of a text: "sentences" where only these are read, else "tokens"."""
        return "tokens" if self.words is None or self.top is not None else "sentences"

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Encode token ids (n, length); the mask is 1 for real tokens."""
        read = self._frozen_outputs if self.is_frozen else self.outputs
        outputs = read(input_ids, attention_mask)  # (n, length or 1, size)
        if self.top is not None:
            states = read_by_length(self._read_top, outputs, attention_mask)  # (n, length, size)
            outputs = states if self.words is None else _sentences(states, attention_mask)
        if self.words is None:
            tokens = self.projection(outputs)  # (n, length, hidden)
        else:
            sentence = self.projection(functional.normalize(outputs, dim=-1))  # (n, 1, hidden)
            tokens = self.words(input_ids, attention_mask).tokens + sentence  # (n, length, hidden)
        if self.normalize:
            tokens = functional.normalize(tokens, dim=-1)
        return Encoded(tokens, attention_mask.bool())

    def outputs(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What the encoder reads of its text model: inputs as for `forward`.

        Returns:
            The token states (n, length, size), or their mean over the real tokens (n, 1, size) if
            `stored_kind` is "sentences".
        """
        states = text_states(self.backbone, input_ids, attention_mask)  # (n, length, size)
        return states if self.stored_kind == "tokens" else _sentences(states, attention_mask)

    def _read_top(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """Token states after the top layers, (n, length, size)."""
        assert self.top is not None
        return self.top(states, attention_mask.bool())

    @torch.no_grad()
    def output_rows(self, input_ids: Tensor, attention_mask: Tensor) -> list[np.ndarray]:
        """Compute the outputs of each text as they are stored, without padding.

        Returns:
            For each text its outputs, (length or 1, size), float16.
        """
        outputs = self.outputs(input_ids, attention_mask).half().cpu()  # (n, length or 1, size)
        rows = zip(outputs, self._is_output(attention_mask).cpu(), strict=True)
        return [row[is_real].numpy() for row, is_real in rows]

    def _frozen_outputs(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """See `outputs`; from the store, as far as the texts are in it."""
        stored = self.stored.read(token_digests(input_ids, attention_mask))
        lacking = [index for index, row in enumerate(stored) if row is None]
        computed = iter(
            self.output_rows(input_ids[lacking], attention_mask[lacking]) if lacking else ()
        )
        rows = [next(computed) if row is None else row for row in stored]
        is_real = self._is_output(attention_mask)  # (n, length or 1)
        weight = next(self.backbone.parameters())
        outputs = weight.new_zeros((*is_real.shape, self.size))  # (n, length or 1, size)
        outputs[is_real] = torch.from_numpy(np.concatenate(rows)).to(weight)
        return outputs

    def _is_output(self, attention_mask: Tensor) -> Tensor:
        """Which outputs are real, (n, length or 1)."""
        is_real = attention_mask.bool()
        return is_real if self.stored_kind == "tokens" else is_real.any(dim=1, keepdim=True)


def _sentences(states: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean of the states of the real tokens, (n, 1, size)."""
    weights = attention_mask.to(states)  # (n, length)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.einsum("nl,nls->ns", weights, states).unsqueeze(1)


#: Text encoders over a word-level vocabulary, by the name that a config uses.
WORD_ENCODERS: dict[str, type[GruEncoder | WordEncoder]] = {
    "bigru": BiGruEncoder,
    "gru": GruEncoder,
    "words": WordEncoder,
}
