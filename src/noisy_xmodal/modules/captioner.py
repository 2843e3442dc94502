"""A captioner: how well the tokens of an image say what its caption is.

Li et al., "Visual Semantic Reasoning for Image-Text Matching", ICCV 2019, section 3.4 (Eq. 10), and
the sequence-to-sequence model with attention that it takes from video captioning. The loss of a
pair is -sum_t log p(y_t | y_1 .. y_(t-1), V*), over the tokens after the first. With h_0 the last
state of a GRU over the projected tokens e_1..e_n of the image:

    c_t = sum_i softmax_i(w . tanh(W [e_i; h_(t-1)] + b)) e_i        context
    h_t = GRU([y_(t-1); c_t], h_(t-1))
    p(y_t) = softmax(U h_t + d)

The published code departs from the paper: its loss also has the padding after the last token, and
its dropout between the layers of the GRUs, .5, does nothing, since each has one layer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .dropout import Dropout
from .encoded import Encoded


class Captioner(nn.Module):
    """A GRU that writes a caption, with attention to the tokens of the image.

    Args:
        image_size: Size of the image's tokens.
        vocab_size: Number of words.
        word_size: Size of a word's embedding.
        hidden_size: Size of the states.
        dropout: On the projected image tokens and on the inputs of the GRU.
    """

    def __init__(
        self,
        image_size: int,
        vocab_size: int,
        word_size: int,
        hidden_size: int,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.projection = nn.Linear(image_size, hidden_size)
        self.encoder = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.words = nn.Embedding(vocab_size, word_size)
        self.attention = nn.Linear(2 * hidden_size, hidden_size)
        self.score = nn.Linear(hidden_size, 1, bias=False)
        self.decoder = nn.GRU(word_size + hidden_size, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, vocab_size)
        self.dropout = Dropout(dropout)

    def forward(self, image: Encoded, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Negative log-likelihood of the caption of each image.

        Args:
            image: Tokens (n, n_regions, image_size), padded on the right, and their mask.
            input_ids: Caption i of image i, (n, length), padded on the right.
            attention_mask: 1 for real tokens, (n, length).

        Returns:
            Sum over the tokens after the first, (n,), float32.
        """
        encoded, state = self._encode(image)  # (n, n_regions, hidden), (1, n, hidden)
        of_region, of_state = self.attention.weight.chunk(2, dim=1)
        keys = functional.linear(encoded, of_region, self.attention.bias)
        words = self.words(input_ids[:, :-1])  # (n, length - 1, word_size)
        outputs = []
        for word in words.unbind(dim=1):
            logits = self.score(torch.tanh(keys + (state[0] @ of_state.T).unsqueeze(1))).squeeze(-1)
            weights = logits.masked_fill(~image.mask, -torch.inf).softmax(dim=-1)  # (n, n_regions)
            context = torch.einsum("nr,nrh->nh", weights.to(encoded.dtype), encoded)
            step = self.dropout(torch.cat([word, context], dim=-1)).unsqueeze(1)
            output, state = self.decoder(step, state)
            outputs.append(output)
        if not outputs:
            return keys.new_zeros(len(keys), dtype=torch.float)
        is_real = attention_mask[:, 1:].bool()  # (n, length - 1)
        logits = self.output(torch.cat(outputs, dim=1)[is_real])  # (n_real, vocab_size)
        losses = functional.cross_entropy(
            logits.float(), input_ids[:, 1:][is_real], reduction="none"
        )
        pairs = is_real.nonzero()[:, 0]  # (n_real,)
        return losses.new_zeros(len(keys)).index_add(0, pairs, losses)

    def _encode(self, image: Encoded) -> tuple[Tensor, Tensor]:
        """States of the GRU over the image's tokens, (n, n_regions, hidden), and the last ones."""
        lengths = image.mask.sum(dim=1).cpu()
        tokens = self.dropout(self.projection(image.tokens))  # (n, n_regions, hidden)
        packed = pack_padded_sequence(tokens, lengths, batch_first=True, enforce_sorted=False)
        states, last = self.encoder(packed)
        states, _ = pad_packed_sequence(states, batch_first=True, total_length=tokens.shape[1])
        return states, last
