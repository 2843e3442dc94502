"""The word-level vocabulary: which words get which ids, and how a caption becomes ids."""

import random
from collections import Counter

import pytest
from transformers import AutoTokenizer

from noisy_xmodal import MatchingProcessor, RegionFeatureProcessor
from noisy_xmodal.modules import train_word_tokenizer
from noisy_xmodal.modules.text_limits import TruncationCount, count_truncated, set_max_length

CAPTIONS = [
    "A dog runs.",
    "the Dog sleeps",
    "THE dog eats, the cat eats",
    "a cat",
    "zebra apple",
]


def test_special_tokens_have_the_first_ids():
    tokenizer = train_word_tokenizer(CAPTIONS)
    assert tokenizer.convert_tokens_to_ids(["<pad>", "<start>", "<end>", "<unk>"]) == [0, 1, 2, 3]
    ids = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert ids == (0, 1, 2)
    assert tokenizer.unk_token_id == 3


def test_words_are_numbered_by_frequency_then_alphabet():
    words = [word for text in CAPTIONS for word in text.lower().replace(".", " .").split()]
    counts = Counter(word for piece in words for word in piece.replace(",", " ,").split())
    expected = sorted(counts, key=lambda word: (-counts[word], word))
    vocabulary = train_word_tokenizer(CAPTIONS).get_vocab()
    assert {word: vocabulary[word] for word in expected} == {
        word: 4 + rank for rank, word in enumerate(expected)
    }
    assert len(vocabulary) == 4 + len(expected)


def test_the_order_of_the_captions_is_irrelevant():
    expected = train_word_tokenizer(CAPTIONS).get_vocab()
    for seed in range(5):
        shuffled = random.Random(seed).sample(CAPTIONS, len(CAPTIONS))
        assert train_word_tokenizer(iter(shuffled)).get_vocab() == expected


def test_case_form_and_outer_space_are_normalised():
    tokenizer = train_word_tokenizer(CAPTIONS)
    plain = tokenizer("the dog").input_ids
    assert tokenizer("  THE Dog ").input_ids == plain
    assert tokenizer("the ｄｏｇ").input_ids == plain  # full-width letters
    assert "Dog" not in tokenizer.get_vocab()


def test_punctuation_stands_alone():
    tokenizer = train_word_tokenizer(["dog, cat. dog-cat!"])
    assert tokenizer.tokenize("dog-cat!") == ["dog", "-", "cat", "!"]


@pytest.mark.parametrize("min_frequency", [1, 2, 3, 4])
def test_rare_words_are_unknown(min_frequency):
    captions = ["one two two three three three four four four four"]
    tokenizer = train_word_tokenizer(captions, min_frequency=min_frequency, boundaries=False)
    ids = tokenizer("one two three four").input_ids
    assert [i == 3 for i in ids] == [count < min_frequency for count in (1, 2, 3, 4)]
    assert len(tokenizer) == 4 + sum(count >= min_frequency for count in (1, 2, 3, 4))


def test_unseen_words_are_unknown():
    tokenizer = train_word_tokenizer(CAPTIONS)
    assert tokenizer("giraffe dog").input_ids[1:-1] == [3, tokenizer.convert_tokens_to_ids("dog")]


def test_boundaries_stand_around_a_caption_or_nowhere():
    dog = train_word_tokenizer(CAPTIONS).convert_tokens_to_ids("dog")
    assert train_word_tokenizer(CAPTIONS)("dog").input_ids == [1, dog, 2]
    assert train_word_tokenizer(CAPTIONS, boundaries=False)("dog").input_ids == [dog]


def test_long_captions_are_cut_between_the_boundaries():
    tokenizer = train_word_tokenizer(CAPTIONS, max_length=5)
    dog = tokenizer.convert_tokens_to_ids("dog")
    assert tokenizer("dog " * 9, truncation=True).input_ids == [1, dog, dog, dog, 2]
    bare = train_word_tokenizer(CAPTIONS, max_length=5, boundaries=False)
    assert bare("dog " * 9, truncation=True).input_ids == [dog] * 5


def test_padding_is_on_the_right_and_there_are_no_token_types():
    tokenizer = train_word_tokenizer(CAPTIONS, boundaries=False)
    dog = tokenizer.convert_tokens_to_ids("dog")
    batch = tokenizer(["dog", "dog dog dog"], padding=True)
    assert set(batch) == {"input_ids", "attention_mask"}
    assert batch["input_ids"] == [[dog, 0, 0], [dog] * 3]
    assert batch["attention_mask"] == [[1, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(("captions", "minimum"), [(CAPTIONS, 100), ([], 1), ([" "], 1)])
def test_a_vocabulary_without_words_is_refused(captions, minimum):
    with pytest.raises(ValueError, match=rf"no word occurs at least {minimum} times"):
        train_word_tokenizer(captions, min_frequency=minimum)


@pytest.mark.parametrize("boundaries", [True, False])
def test_saved_and_loaded_it_is_the_same(tmp_path, boundaries):
    tokenizer = train_word_tokenizer(CAPTIONS, min_frequency=2, max_length=6, boundaries=boundaries)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    texts = ["The DOG eats a giraffe, the cat, the cat", "cat"]
    options = {"padding": True, "truncation": True}
    assert dict(loaded(texts, **options)) == dict(tokenizer(texts, **options))
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.model_max_length == 6
    assert loaded.padding_side == "right"
    assert loaded.pad_token_id == 0


def test_the_mask_token_comes_behind_the_other_special_ones():
    plain, masking = train_word_tokenizer(CAPTIONS), train_word_tokenizer(CAPTIONS, mask=True)
    assert plain.mask_token is None
    assert plain.mask_token_id is None
    assert masking.mask_token == "<mask>"
    assert masking.mask_token_id == 4
    assert sorted(masking.all_special_ids) == [0, 1, 2, 3, 4]
    assert len(masking) == len(plain) + 1
    for word, number in plain.get_vocab().items():
        assert masking.get_vocab()[word] == number + (number > 3), word


def test_the_mask_token_is_one_token_wherever_it_stands():
    tokenizer = train_word_tokenizer(CAPTIONS, mask=True)
    dog = tokenizer.convert_tokens_to_ids("dog")
    assert tokenizer("dog <mask> dog").input_ids == [1, dog, 4, dog, 2]
    assert tokenizer.decode([dog, 4]) == "dog <mask>"


def test_a_vocabulary_of_special_tokens_alone_is_refused_with_a_mask_token_too():
    with pytest.raises(ValueError, match="no word occurs at least 100 times"):
        train_word_tokenizer(CAPTIONS, min_frequency=100, mask=True)


@pytest.mark.parametrize("mask", [True, False])
def test_saved_and_loaded_it_masks_the_same(tmp_path, mask):
    tokenizer = train_word_tokenizer(CAPTIONS, mask=mask)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.mask_token_id == (4 if mask else None)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    text = "the <mask> eats"
    assert loaded(text).input_ids == tokenizer(text).input_ids


@pytest.mark.parametrize(
    ("n_words", "limit"),
    [(1, 64), (62, 64), (63, 65), (200, 202), (254, 256), (255, 256), (900, 256)],
)
def test_all_of_a_caption_is_read_up_to_a_bound(n_words, limit):
    captions = ["a dog", "a cat " * (n_words // 2) + "a" * (n_words % 2)]
    words = train_word_tokenizer(iter(captions))
    assert words.model_max_length == limit
    assert len(words(captions[1], truncation=True)["input_ids"]) == min(n_words + 2, 256)
    processor = MatchingProcessor(RegionFeatureProcessor(4), words)
    assert count_truncated(processor, captions) == TruncationCount(int(n_words > 254), 2, limit)


def test_a_common_opening_of_any_length_does_not_make_captions_alike():
    captions = [f"{'words that say nothing ' * 40}{noun}" for noun in ("cat", "dog", "bird")]
    words = train_word_tokenizer(captions)
    assert len({tuple(ids) for ids in words(captions, truncation=True)["input_ids"]}) == 3


@pytest.mark.parametrize("max_length", [0, 1, 2])
def test_a_limit_without_room_for_a_word_is_refused(max_length):
    with pytest.raises(ValueError, match=f"`max_length` is {max_length}: give at least 3"):
        train_word_tokenizer(["a dog"], max_length=max_length)
    assert train_word_tokenizer(["a dog"], max_length=1, boundaries=False).model_max_length == 1


def test_a_pretrained_tokenizer_is_shortened_and_never_made_longer():
    words = train_word_tokenizer(["a dog"], max_length=10)
    set_max_length(words, None)
    assert words.model_max_length == 10
    set_max_length(words, 6)
    assert words.model_max_length == 6
    with pytest.raises(ValueError, match=r"--max_seq_length is 7, .* a maximum of 6"):
        set_max_length(words, 7)
