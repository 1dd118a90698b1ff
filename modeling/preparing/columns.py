"""What each column of a prepared folder means, for both dataset cards and for the Croissant file."""

from collections.abc import Mapping
from typing import NamedTuple

import datasets

from affectnet_plus import features


class Column(NamedTuple):
    """Unit, range and meaning of one column; its type comes from `affectnet_plus.features`."""

    unit: str
    range: str
    meaning: str


COLUMNS = {
    "image": Column("pixels", "224x224 in AffectNet+", "the face, JPEG or PNG as delivered"),
    "image_id": Column("", "`split/stem`", "unique; stems alone repeat between splits"),
    "label": Column("class", "0 to 7; 0 to 10 in `all`", "one annotator's choice; null where nobody chose"),
    "soft_label": Column(
        "confidence", "[0, 1] each", "one for each emotion in the order of the codes, as delivered; **no** sum of 1"
    ),
    "soft_label_normalized": Column(
        "probability", "[0, 1], sum 1", "`soft_label` divided by its sum, for KL divergence; null where all are zero"
    ),
    "subset": Column("class", "0 to 2", "easy, challenging, difficult: the rank of `label` in `soft_label`"),
    "valence": Column("", "[-1, 1]", "unpleasant to pleasant; null where the source has -2"),
    "arousal": Column("", "[-1, 1]", "calm to excited; null where the source has -2"),
    "age": Column("years", "[0, 150]", "**predicted by a machine**; for audits only"),
    "gender": Column("probability", "[0, 1], sum 1", "**predicted by a machine**, two classes; for audits only"),
    "race": Column("probability", "[0, 1], sum 1", "**predicted by a machine**, six classes; for audits only"),
    "pose": Column("", "about [-1, 1]", "as delivered; no unit documented, neither radians nor degrees/90 fit"),
    "landmarks_68": Column("pixels", "may leave the image a little", "(x, y) of the 68 iBUG points, predicted"),
    "landmarks_29": Column("pixels", "may leave the image a little", "(x, y) of 29 points, order not documented"),
}


def type_of(feature) -> str:
    """The type of a column in a few words."""
    if isinstance(feature, datasets.Image):
        return "image"
    if isinstance(feature, datasets.ClassLabel):
        return "int64"
    if isinstance(feature, datasets.Array2D):
        return f"{' x '.join(map(str, feature.shape))} {feature.dtype}"
    if isinstance(feature, dict):
        return f"struct of {len(feature)} {next(iter(feature.values())).dtype}: {', '.join(feature)}"
    if isinstance(feature, datasets.Value):
        return feature.dtype
    return f"{feature.length} {feature.feature.dtype}"


def column_table(further: datasets.Features | None = None, meanings: Mapping[str, Column] | None = None) -> str:
    """The columns as a Markdown table, with further ones behind, if there are any."""
    kinds = {name: type_of(feature) for name, feature in (features() | (further or {})).items()}
    columns = COLUMNS | dict(meanings or {})
    rows = [(f"`{name}`", kinds[name], column.unit, column.range, column.meaning) for name, column in columns.items()]
    return markdown_table(("column", "type", "unit", "range", "meaning and caveat"), rows)


def markdown_table(header, rows) -> str:
    """A Markdown table; cells are text or numbers, which get a comma every three digits."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
