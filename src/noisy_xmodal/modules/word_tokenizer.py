"""Train a word-level tokenizer on captions."""

from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from .list_inputs import check_list
from .text_limits import MAX_DEFAULT_LENGTH, MIN_DEFAULT_LENGTH, token_counts

SPECIAL_TOKENS = ("<pad>", "<start>", "<end>", "<unk>")
MASK_TOKEN = "<mask>"


def train_word_tokenizer(
    captions: Iterable[str],
    min_frequency: int = 1,
    max_length: int | None = None,
    boundaries: bool = True,
    mask: bool = False,
) -> PreTrainedTokenizerFast:
    """Train a lower-case word tokenizer, as the field's bi-GRU models use it.

    Words are ordered by frequency and then alphabetically, so the vocabulary does not depend on the
    order of the captions.

    Args:
        captions: Captions of the training split only; test captions would leak.
        min_frequency: Words that occur less often become `<unk>` (4 in SCAN, SGRAF and NCR).
        max_length: Maximum number of tokens of a caption, `<start>` and `<end>` included. By
            default the length of the longest caption, but at least 64 and at most 256; see
            `count_truncated` of `modules.text_limits`.
        boundaries: Whether `<start>` and `<end>` are added to a caption.
        mask: Whether there is a `<mask>`, for masked language modelling.

    Returns:
        A tokenizer with `<pad>` = 0, `<start>` = 1, `<end>` = 2, `<unk>` = 3 and, with `mask`,
        `<mask>` = 4.

    Raises:
        ValueError: If no word is frequent enough, or `max_length` is too small for a word.
    """
    n_boundaries = 2 if boundaries else 0
    if max_length is not None and max_length <= n_boundaries:
        raise ValueError(f"`max_length` is {max_length}: give at least {n_boundaries + 1} tokens.")
    check_list(captions, "captions")
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
        model_max_length=max_length or MAX_DEFAULT_LENGTH,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
    )
    if max_length is None:
        longest = max(token_counts(words, captions), default=0)
        words.model_max_length = min(max(longest, MIN_DEFAULT_LENGTH), MAX_DEFAULT_LENGTH)
    return words
