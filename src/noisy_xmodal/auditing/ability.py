"""What a judge cannot tell, in sentences, and what would help."""

from ..noise.random_pairs import WrongShare


def what_is_not_known(share: WrongShare, is_cross_fit: bool) -> list[str]:
    """What the reader must know of a judge that tells little or nothing, a sentence or two.

    Args:
        share: The estimated share, with what the judge can tell.
        is_cross_fit: Whether small models judged that were trained on the data.
    """
    if share.can_tell and not share.is_weak:
        return []
    help_of_cross_fit = (
        "more pairs, pretrained features of pictures (--vision_model_name_or_path), a pretrained "
        "judge such as a CLIP (--model_name_or_path)"
    )
    would_help = help_of_cross_fit if is_cross_fit else "a judge that knows such images and texts"
    if share.can_tell:
        return [
            "The judge tells right pairs from random ones only in "
            f"{share.separation:.0%} of the cases, so that right pairs look wrong to it: few are "
            f"judged wrong, and the share is uncertain. What would help: {would_help}."
        ]
    return [
        "The judge does not tell these pairs from random ones, beyond chance "
        f"(p = {share.p_value:.2g}): it is unknown how many are wrong, none is judged wrong, and "
        f"the order means little. What would help: {would_help}. If most pairs should be right, "
        "look at some pictures and captions: pictures may be blank or alike, captions in another "
        "language than the judge's, all equal, or longer than it reads."
    ]
