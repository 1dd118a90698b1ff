"""How many faces the release holds, as its authors count them."""

import numpy as np

from affectnet_plus import LABELS

from .findings import Finding

# arXiv 2410.22506: the faces of each label, in the order of LABELS. The rest of the release has no labels.
FACES = {
    "train": (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750, 33088, 11645, 82415),
    "validation": (500,) * len(LABELS),
    "no_human": (539607,),
}
WHOLE = 0.05  # a split within this share of the published number is meant to be the whole of it


def compare_counts(split: str, counts: np.ndarray, listed: int) -> Finding:
    """The published number of faces of a split against what is here.

    Args:
        counts: (12,) rows of each label, the last without one.
        listed: faces of the split in the source, with those that could not be rows.

    A split is compared when it lists within 5 % of the published number of faces, and is a part of the release, or
    something else, when it does not.
    """
    if split not in FACES:
        return Finding("note", "published counts", f"{split} is no split of the release")
    total = sum(FACES[split])
    if abs(listed - total) > WHOLE * total:
        return Finding(
            "note",
            "published counts",
            f"{split} lists {listed:,} faces of the published {total:,}: not compared label by label",
        )
    names = (*LABELS, "without a label")
    expected = (0,) * len(LABELS) + FACES[split] if split == "no_human" else (*FACES[split], 0)
    pairs = [(name, int(here), there) for name, here, there in zip(names, counts, expected) if here != there]
    if not pairs:
        return Finding("note", "published counts", f"{split} has the published number of faces of each label")
    differing = "; ".join(f"{name} {here:,}, published {there:,}" for name, here, there in pairs)
    return Finding("warning", "published counts", f"{split}: {differing}", sum(abs(a - b) for _, a, b in pairs))
