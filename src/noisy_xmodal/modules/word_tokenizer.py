"""A word-level vocabulary learned from captions, as a transformers tokenizer."""

from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from .several import check_several
from .text_limits import LONGEST, SHORTEST, token_counts

SPECIAL_TOKENS = ("<pad>", "<start>", "<end>", "<unk>")
MASK_TOKEN = "<mask>"


def train_word_tokenizer(
    captions: Iterable[str],
    min_frequency: int = 1,
    max_length: int | None = None,
    boundaries: bool = True,
    mask: bool = False,
) -> PreTrainedTokenizerFast:
    """Learn a lower-cased word vocabulary, as the field's bi-GRU models use it.

    Words are ordered by frequency and then alphabetically, so the same captions in any order give
    the same vocabulary.

    Args:
        captions: Training captions only; a vocabulary that has seen test captions leaks.
        min_frequency: Words seen less often become `<unk>` (4 in SCAN, SGRAF and NCR).
        max_length: Tokens that are read of a caption, `<start>` and `<end>` included. By default
            as many as the longest caption has, but at least 64 and at most 256; `count_cut` of
            `modules.text_limits` says how many are longer.
        boundaries: Whether `<start>` and `<end>` stand around a caption.
        mask: Whether there is a `<mask>`, for masked language modelling.

    Returns:
        A tokenizer with `<pad>` = 0, `<start>` = 1, `<end>` = 2, `<unk>` = 3 and, where asked for,
        `<mask>` = 4.

    Raises:
        ValueError: If no word is frequent enough, or `max_length` leaves no room for one.
    """
    around = 2 if boundaries else 0
    if max_length is not None and max_length <= around:
        raise ValueError(f"`max_length` is {max_length}: give at least {around + 1} tokens.")
    check_several(captions, "captions")
    captions = list(captions)
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()]
    )
    special = [*SPECIAL_TOKENS, MASK_TOKEN] if mask else list(SPECIAL_TOKENS)
    trainer = trainers.WordLevelTrainer(
        min_frequency=min_frequency, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    if tokenizer.get_vocab_size() == len(special):
        raise ValueError(
            f"no word occurs at least {min_frequency} times in the captions; lower `min_frequency`."
        )
    if boundaries:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
        )
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
        mask_token=MASK_TOKEN if mask else None,
        model_max_length=max_length or LONGEST,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
    )
    if max_length is None:
        longest = max(token_counts(words, captions), default=0)
        words.model_max_length = min(max(longest, SHORTEST), LONGEST)
    return words
