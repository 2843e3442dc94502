"""Messages about a judge that does not distinguish right from wrong pairs."""

from ..noise.random_pairs import WrongShare


def limitations(share: WrongShare, is_cross_fit: bool) -> list[str]:
    """Messages about the limitations of a judge; empty for a good judge.

    Args:
        share: The estimated share, with the separation of the judge.
        is_cross_fit: Whether the judge is a set of small models trained on the data.
    """
    if share.can_tell and not share.is_weak:
        return []
    remedy = "a judge that was trained on such images and texts"
    if is_cross_fit:
        remedy = (
            "more pairs, pretrained image features (--vision_model_name_or_path), or a pretrained "
            "judge such as a CLIP (--model_name_or_path)"
        )
    if share.can_tell:
        return [
            f"The judge distinguishes right from random pairs in only {share.separation:.0%} of "
            "the cases, so it judges few pairs wrong, and the share is uncertain. Possible "
            f"remedies: {remedy}."
        ]
    return [
        "The judge does not distinguish these pairs from random ones, beyond chance "
        f"(p = {share.p_value:.2g}): the number of wrong pairs is unknown, no pair is judged "
        f"wrong, and the order means little. Possible remedies: {remedy}. If most pairs should be "
        "right, check some images and captions: images may be blank or alike, captions may be in "
        "a language that the judge does not know, all equal, or too long for it."
    ]
