"""Token states of a text model, read in blocks of texts of similar length."""

import copy

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from noisy_xmodal.modules.text_states import text_states

N_TEXTS, LONGEST = 150, 20


@pytest.fixture
def model() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=LONGEST,
    )
    return BertModel(config).double().eval()


@pytest.fixture
def texts() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, LONGEST + 1, (N_TEXTS,), generator=generator)
    mask = (torch.arange(LONGEST) < lengths[:, None]).long()
    return torch.randint(1, 30, (N_TEXTS, LONGEST), generator=generator) * mask, mask


def test_states_and_gradients_are_those_of_each_text_alone(model, texts):
    ids, mask = texts
    alone = copy.deepcopy(model)
    states = text_states(model, ids, mask)
    assert states.shape == (N_TEXTS, LONGEST, 16)
    weights = torch.randn_like(states) * mask[..., None]
    (states * weights).sum().backward()
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        expected = alone(input_ids=ids[row : row + 1, :length]).last_hidden_state[0]
        torch.testing.assert_close(states[row, :length], expected)
        (expected * weights[row, :length]).sum().backward()
    for ours, theirs in zip(model.parameters(), alone.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_words_read_are_few_more_than_the_words_there_are(model, texts):
    ids, mask = texts
    n_read = []
    model.embeddings.register_forward_hook(lambda _, args, output: n_read.append(output.shape[:2]))
    text_states(model, ids, mask)
    assert sum(n for n, _ in n_read) == N_TEXTS
    assert sum(n * length for n, length in n_read) < 1.4 * int(mask.sum())


def test_texts_padded_on_the_left_keep_their_positions(model, texts):
    ids, mask = texts[0].flip(1), texts[1].flip(1)
    expected = model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(text_states(model, ids, mask), expected)


def test_few_texts_are_read_at_once(model, texts):
    ids, mask = texts[0][:3], texts[1][:3]
    expected = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(text_states(model, ids, mask), expected)
