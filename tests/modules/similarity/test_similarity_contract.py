"""What every similarity head promises, whatever it computes."""

import pytest
import torch
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from noisy_xmodal.modules.encoded import Encoded
from noisy_xmodal.modules.similarity import SIMILARITY_HEADS, SimilarityHead, base, build_similarity

SIZE = 8
IMAGE_LENGTHS, TEXT_LENGTHS = [5, 2, 3, 1], [4, 1, 6, 2, 3]

VARIANTS = [(name, {}) for name in SIMILARITY_HEADS] + [
    ("cosine", {"image_pooling": "attention", "text_pooling": "last"}),
    ("cosine", {"image_pooling": "max", "text_pooling": "attention"}),
    ("cosine", {"projection": True, "shortcut": True}),
    ("scan_t2i", {"aggregation": "mean"}),
    ("scan_i2t", {"aggregation": "mean"}),
    ("vsrn", {"batch_norm": True, "text_pooling": "mean"}),
    ("teran", {"aggregation": "symm", "skip_last": 2}),
]
every_head = pytest.mark.parametrize(
    ("name", "options"), VARIANTS, ids=["-".join([n, *map(str, o.values())]) for n, o in VARIANTS]
)


def build(name: str, options: dict) -> SimilarityHead:
    torch.manual_seed(0)
    head = build_similarity(name, hidden_size=SIZE, **options)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.1)
    return head.double().eval()


def ragged(lengths: list[int], seed: int) -> Encoded:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), max(lengths), SIZE, generator=generator, dtype=torch.double)
    tokens = tokens / tokens.norm(dim=-1, keepdim=True)
    return Encoded(tokens, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


def images() -> Encoded:
    return ragged(IMAGE_LENGTHS, 1)


def texts() -> Encoded:
    return ragged(TEXT_LENGTHS, 2)


def with_garbage(encoded: Encoded, extra: int, garbage: float) -> Encoded:
    """The same tokens, with `extra` more padded positions and garbage in all of them."""
    n = len(encoded.tokens)
    tokens = torch.cat([encoded.tokens, torch.zeros(n, extra, SIZE)], dim=1)
    mask = torch.cat([encoded.mask, torch.zeros(n, extra, dtype=torch.bool)], dim=1)
    return Encoded(torch.where(mask.unsqueeze(-1), tokens, garbage), mask)


def score(head: SimilarityHead, image: Encoded, text: Encoded) -> torch.Tensor:
    """The scores as a model computes them."""
    return head(head.encode_image(image), head.encode_text(text))


@every_head
def test_one_finite_score_a_pair(name, options):
    scores = score(build(name, options), images(), texts())
    assert scores.shape == (len(IMAGE_LENGTHS), len(TEXT_LENGTHS))
    assert scores.isfinite().all()
    assert scores.std() > 1e-4, "the head gives all pairs the same score"


@every_head
def test_a_block_has_the_scores_of_the_whole(name, options):
    head = build(name, options)
    image, text = images(), texts()
    whole = score(head, image, text)
    for i in range(len(IMAGE_LENGTHS)):
        for j in range(0, len(TEXT_LENGTHS), 2):
            block = score(
                head,
                Encoded(image.tokens[i : i + 1], image.mask[i : i + 1]),
                Encoded(text.tokens[j : j + 2], text.mask[j : j + 2]),
            )
            torch.testing.assert_close(block, whole[i : i + 1, j : j + 2], atol=1e-9, rtol=0)


@every_head
@pytest.mark.parametrize("garbage", [100.0, float("nan"), float("inf")])
def test_padding_changes_nothing(name, options, garbage):
    head = build(name, options)
    scores = score(head, with_garbage(images(), 3, garbage), with_garbage(texts(), 2, garbage))
    torch.testing.assert_close(scores, score(head, images(), texts()), atol=1e-9, rtol=0)


@every_head
def test_padding_never_changes_training_statistics(name, options):
    plain, padded = build(name, options).train(), build(name, options).train()
    for head in (plain, padded):
        for module in head.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = 0.0
    scores = score(plain, images(), texts())
    same = score(padded, with_garbage(images(), 3, 100.0), with_garbage(texts(), 2, 100.0))
    torch.testing.assert_close(same, scores, atol=1e-9, rtol=0)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(padded.state_dict()[key], value, atol=1e-9, rtol=0)


@every_head
def test_gradients_are_finite_and_never_reach_padding(name, options):
    head = build(name, options).train()
    image, text = with_garbage(images(), 1, 100.0), with_garbage(texts(), 1, 100.0)
    image.tokens.requires_grad_()
    text.tokens.requires_grad_()
    scores = score(head, image, text)
    (scores * torch.linspace(-1, 1, scores.numel()).view_as(scores)).sum().backward()
    for tokens, mask in (image, text):
        assert tokens.grad.isfinite().all()
        assert tokens.grad[mask].abs().sum() > 0
        assert tokens.grad[~mask].abs().sum() == 0
    trained = [pair for pair in head.named_parameters() if pair[1].requires_grad]
    for key, parameter in trained:
        assert parameter.grad is not None, f"{key} takes no part in the scores"
        assert parameter.grad.isfinite().all(), key


@every_head
def test_null_tokens_have_finite_scores_and_gradients(name, options):
    head = build(name, options)
    image, text = images(), texts()
    image.tokens[0] = 0
    text.tokens[0] = 0
    image.tokens.requires_grad_()
    scores = score(head, image, text)
    scores.sum().backward()
    assert scores.isfinite().all()
    assert image.tokens.grad.isfinite().all()


@every_head
@pytest.mark.parametrize("training", [False, True])
def test_one_image_with_one_region_and_one_text_with_one_word(name, options, training):
    scores = score(build(name, options).train(training), ragged([1], 1), ragged([1], 2))
    assert scores.shape == (1, 1)
    assert scores.isfinite().all()


@every_head
def test_bfloat16_autocast_stays_close(name, options):
    head = build(name, options).float()
    image, text = (Encoded(tokens.float(), mask) for tokens, mask in (images(), texts()))
    exact = score(head, image, text)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = score(head, image, text)
    torch.testing.assert_close(scores.float(), exact, atol=0.05, rtol=0)


@every_head
def test_heads_hold_standard_modules_only_and_build_on_the_meta_device(name, options):
    with torch.device("meta"):
        head = build_similarity(name, hidden_size=SIZE, **options)
    owners = {type(m) for m in head.modules() if list(m.parameters(recurse=False))}
    standard = {nn.Linear, nn.LayerNorm, nn.BatchNorm1d, nn.GRU, nn.MultiheadAttention}
    assert owners <= standard | {NonDynamicallyQuantizableLinear}
    assert {key for key, _ in head.named_buffers()} <= set(head.state_dict())


@every_head
def test_wrong_width_and_wrong_mask_are_refused(name, options):
    head = build(name, options)
    narrow = Encoded(torch.ones(2, 3, SIZE - 1), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"hidden_size=8.*found \(2, 3, 7\)"):
        head(narrow, texts())
    short = Encoded(torch.ones(2, 3, SIZE), torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"one entry per token, \(2, 3\), found \(2, 4\)"):
        head(images(), short)


def test_cosine_and_vsrn_are_two_tower():
    two_tower = [name for name, head in SIMILARITY_HEADS.items() if head.is_two_tower]
    assert two_tower == ["cosine", "vsrn"]


def test_unknown_head_is_refused_with_the_known_ones():
    with pytest.raises(
        ValueError,
        match=r"'scan'.*cosine, scan_t2i, scan_i2t, saf, sgr, sgraf_joint, imram, vsrn, teran",
    ):
        build_similarity("scan", hidden_size=SIZE)


def test_unknown_option_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'saf' has no option 'steps'.*hidden_size.*num_regions"):
        build_similarity("saf", hidden_size=SIZE, steps=3)


def test_missing_width_is_refused():
    with pytest.raises(ValueError, match="'sgr' needs hidden_size"):
        build_similarity("sgr")


@pytest.mark.parametrize("n_chosen", [0, 1, 5])
@every_head
def test_scores_for_few_pairs_have_the_same_gradients(name, options, n_chosen):
    head = build(name, options).train()
    image, text = with_garbage(images(), 1, 100.0), with_garbage(texts(), 1, 100.0)
    image.tokens.requires_grad_()
    text.tokens.requires_grad_()
    leaves = [image.tokens, text.tokens, *(p for p in head.parameters() if p.requires_grad)]
    slope = torch.zeros(len(image.tokens), len(text.tokens), dtype=torch.double)
    chosen = torch.randperm(slope.numel(), generator=torch.Generator().manual_seed(0))[:n_chosen]
    slope.view(-1)[chosen] = torch.linspace(-1, 2, n_chosen, dtype=torch.double)
    found = []
    for compare in (head, head.sparse_gradient_scores):
        torch.manual_seed(0)  # of dropout
        scores = compare(head.encode_image(image), head.encode_text(text))
        gradients = torch.autograd.grad((scores * slope).sum(), leaves, materialize_grads=True)
        found.append([scores.detach(), *gradients])
    for plain, few in zip(*found, strict=True):
        torch.testing.assert_close(few, plain, atol=1e-9, rtol=1e-7)


@every_head
def test_training_mode_scores_the_same_without_gradients(name, options, monkeypatch):
    monkeypatch.setattr(base, "CACHED_BYTES", 1)  # an image at a time, where images may be parted
    head = build(name, options).train()
    torch.manual_seed(0)  # of dropout
    expected = score(head, images(), texts()).detach()
    torch.manual_seed(0)
    with torch.no_grad():
        torch.testing.assert_close(score(head, images(), texts()), expected, atol=1e-9, rtol=0)
