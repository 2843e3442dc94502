"""Object sets out of captions: the nouns that people used for a picture.

A stand-in for annotated objects, where a person asks for it: "A black dog chases a white dog in the
snow" gives dog and snow. The tagger is TextBlob's PatternTagger, a lexicon with rules, which needs
no download; it takes some verbs and adjectives for nouns. Nouns of very few pictures are left out:
those of one say nothing of overlap, and most rare ones are slips of the tagger or of the pen.
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
        For each image its nouns in the singular and in lower case, sorted, each once; those that
        two images or more have in common, or one in 10,000 where that is more.

    Raises:
        ImportError: The package textblob is not installed.
    """
    try:
        from textblob.en.inflect import singularize
        from textblob.en.taggers import PatternTagger
    except ImportError as error:
        raise ImportError(
            "Nouns of captions are found with TextBlob, which is not installed: "
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
