"""Text encoders: a bi-GRU over words, word embeddings, or any transformers text model."""

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import AutoModel, PreTrainedConfig

from .backbones import length_limit
from .encoded import Encoded


class BiGruEncoder(nn.Module):
    """Word embeddings and a bidirectional GRU whose two outputs are averaged.

    Source: SCAN (Lee et al., ECCV 2018), section 3.3; dropout on the words as in SGRAF.

    Args:
        vocab_size: Number of words of the tokenizer.
        word_size: Size of a word's embedding.
        hidden_size: Size of the joint space.
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
        self.dropout = nn.Dropout(dropout)
        self.gru = nn.GRU(word_size, hidden_size, batch_first=True, bidirectional=True)
        self.normalize = normalize

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Encode word ids (n, length), padded on the right; the mask is 1 for real tokens."""
        words = self.dropout(self.words(input_ids))  # (n, length, word_size)
        lengths = attention_mask.sum(dim=1).clamp(min=1).cpu()  # (n,)
        packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
        output, _ = self.gru(packed)
        both, _ = pad_packed_sequence(
            output, batch_first=True, total_length=input_ids.shape[1]
        )  # (n, length, 2 * hidden)
        forward, backward = both.chunk(2, dim=-1)
        tokens = (forward + backward) / 2  # (n, length, hidden)
        if self.normalize:
            tokens = functional.normalize(tokens, dim=-1)
        return Encoded(tokens, attention_mask.bool())


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
        self.dropout = nn.Dropout(dropout)
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
    """Token states of any transformers text model, projected into the joint space.

    Args:
        config: Configuration of any text model that `AutoModel` builds.
        hidden_size: Size of the joint space.
        normalize: Whether every token is scaled to unit length.
    """

    def __init__(self, config: PreTrainedConfig, hidden_size: int, normalize: bool = True) -> None:
        super().__init__()
        self.backbone = AutoModel.from_config(config)
        self.projection = nn.Linear(config.hidden_size, hidden_size)
        self.normalize = normalize

    @property
    def length_limit(self) -> int | None:
        """Maximum number of tokens; None without a limit."""
        return length_limit(self.backbone)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Encode token ids (n, length); the mask is 1 for real tokens."""
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        tokens = self.projection(hidden.last_hidden_state)  # (n, length, hidden)
        if self.normalize:
            tokens = functional.normalize(tokens, dim=-1)
        return Encoded(tokens, attention_mask.bool())


#: Text encoders over a word-level vocabulary, by the name that a config uses.
WORD_ENCODERS: dict[str, type[BiGruEncoder | WordEncoder]] = {
    "bigru": BiGruEncoder,
    "words": WordEncoder,
}
