"""Object sets from the nouns in captions, as an optional substitute for annotated objects.

"A black dog chases a white dog in the snow" gives dog and snow. TextBlob's PatternTagger, a lexicon
with rules, needs no download; it tags some verbs and adjectives as nouns. Nouns of few pictures are
dropped: a noun of one picture cannot overlap, and most rare nouns are tagging or spelling errors.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from datasets.utils import tqdm  # can be switched off by datasets.disable_progress_bars()


def caption_nouns(captions: Sequence[Sequence[str]]) -> list[list[str]]:
    """Finds the nouns in the captions of each image.

    Args:
        captions: The captions of each image, in English.

    Returns:
        The distinct nouns of each image, singular, in lower case and sorted. A noun must occur in
        at least two images, or in one of 10,000 images if that is more.

    Raises:
        ImportError: The package textblob is not installed.
    """
    try:
        from textblob.en.inflect import singularize
        from textblob.en.taggers import PatternTagger
    except ImportError as error:
        raise ImportError(
            "Finding nouns in captions needs TextBlob, which is not installed: "
            "pip install noisy-xmodal[nouns]"
        ) from error
    tagger = PatternTagger()
    sets = []
    for texts in tqdm(captions, desc="Finding nouns"):
        tagged = [pair for text in texts for pair in tagger.tag(text)]
        words = {word.lower() for word, part in tagged if part in ("NN", "NNS")}
        sets.append(sorted({singularize(word) for word in words if word.isalpha()}))
    counts = Counter(chain.from_iterable(sets))
    least = max(2, len(sets) // 10_000)
    return [[noun for noun in nouns if counts[noun] >= least] for nouns in sets]
