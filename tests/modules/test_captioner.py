"""The loss of a captioner against its formulas, a caption and a word at a time."""

import math
from itertools import pairwise

import torch

from noisy_xmodal.modules.captioner import Captioner
from noisy_xmodal.modules.encoded import Encoded

REGIONS, LENGTHS = [3, 1, 4], [4, 2, 1]


def inputs() -> tuple[Encoded, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.arange(4) < torch.tensor(REGIONS)[:, None]
    words = torch.arange(4) < torch.tensor(LENGTHS)[:, None]
    image = Encoded(torch.randn(3, 4, 5, dtype=torch.double), mask)
    return image, torch.randint(1, 9, (3, 4)) * words, words.long()


def build() -> Captioner:
    torch.manual_seed(0)
    return Captioner(5, 9, 4, 6).double().eval()


@torch.no_grad()
def loss_slowly(captioner, regions, ids):
    states, state = captioner.encoder(captioner.projection(regions)[None])
    loss = 0.0
    for before, word in pairwise(ids):
        logits = [
            captioner.score(torch.tanh(captioner.attention(torch.cat([e, state[0, 0]]))))
            for e in states[0]
        ]
        weights = [math.exp(x) for x in logits]
        context = sum(w / sum(weights) * e for w, e in zip(weights, states[0], strict=True))
        joined = torch.cat([captioner.words.weight[before], context])
        output, state = captioner.decoder(joined[None, None], state)
        loss -= captioner.output(output[0, 0]).log_softmax(-1)[word].item()
    return loss


def test_the_loss_is_that_of_every_word_after_the_first():
    captioner, (image, ids, words) = build(), inputs()
    losses = captioner(image, ids, words)
    for i, (n_regions, length) in enumerate(zip(REGIONS, LENGTHS, strict=True)):
        expected = loss_slowly(captioner, image.tokens[i, :n_regions], ids[i, :length].tolist())
        assert abs(losses[i].item() - expected) < 1e-5
    assert losses[2] == 0, "a caption of one token has no word after the first"


def test_padding_changes_nothing():
    captioner, (image, ids, words) = build(), inputs()
    garbage = torch.where(image.mask.unsqueeze(-1), image.tokens, 100.0)
    longer = torch.nn.functional.pad(ids, (0, 2), value=3)
    losses = captioner(Encoded(garbage, image.mask), longer, torch.nn.functional.pad(words, (0, 2)))
    torch.testing.assert_close(losses, captioner(image, ids, words))


def test_texts_of_one_token_have_no_loss():
    captioner, (image, ids, words) = build(), inputs()
    assert captioner(image, ids[:, :1], words[:, :1]).tolist() == [0, 0, 0]
