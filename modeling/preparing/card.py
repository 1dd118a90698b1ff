"""The card and the Croissant metadata of a prepared folder, with the counts that were found in it."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Features
from datasets.info import DatasetInfo, DatasetInfosDict
from huggingface_hub import DatasetCardData

from affectnet_plus import LABELS, SUBSETS, features, filters
from affectnet_plus_cards import PREPARED_CARD

from ..files import write_json
from ..markdown import escaped, rendered, yaml_head
from ..terms import Terms, terms_of
from .columns import Column, column_table, markdown_table
from .croissant import croissant
from .views import files_of, pattern_of

THIS_FOLDER = "<this folder>"  # what the card's example loads, until `publish` puts the repository's name there
MOST_REASONS = 10
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
GATED_FIELDS = {
    "Name": "text",
    "Institution": "text",
    "Licence holder (professor or lab manager) who signed the agreement": "text",
    "I hold the licensor's agreement for these faces": "checkbox",
    "I use them for non-commercial research only and do not pass them on": "checkbox",
}


def write_card(
    folder: Path,
    report: Mapping[str, Any],
    views: dict[str, dict[str, int]],
    manifest: dict,
    further: Features | None = None,
    meanings: Mapping[str, Column] | None = None,
) -> None:
    """Write `README.md` and `croissant.json` of a prepared folder.

    The same arguments give the same bytes. Neither file names the machine, a face or its file.

    Args:
        report: the counts; `splits`, `quarantined`, `quarantine_reasons`, and `findings` if the checks have run.
        views: view -> split -> how many rows it has there.
        manifest: `files`, path -> rows, bytes, sha256; `source`, whose `origin` decides which terms are stated, with
            `soft_labels` where these were generated; `embedded`, whether the files hold the pictures.
    """
    terms = terms_of(manifest["source"]["origin"], manifest["source"].get("soft_labels"))
    card = rendered(
        PREPARED_CARD,
        card_data=yaml_head(_metadata(terms, views, manifest["files"], further)),
        terms=terms,
        this_folder=THIS_FOLDER,
        splits=_split_table(report["splits"]),
        labels=_count_table(report["splits"], "labels", LABELS),
        subsets=_count_table(report["splits"], "subsets", SUBSETS),
        views=_view_table(views),
        labelled=further is not None,
        first_view=next(iter(views)),
        columns=column_table(further, meanings),
        quarantined=report["quarantined"],
        reasons=_reasons(report["quarantine_reasons"]),
        most_reasons=MOST_REASONS,
        findings=[finding | {"message": _discreet(finding["message"])} for finding in report.get("findings", [])],
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    write_json(folder / "croissant.json", croissant(terms, views, manifest))


# --- the head --------------------------------------------------------------------------------------------------------


def _metadata(
    terms: Terms, views: dict[str, dict[str, int]], sizes: dict[str, dict], further: Features | None
) -> DatasetCardData:
    rows = sum(size["rows"] for size in sizes.values())
    gate: dict = {} if terms.free else {"extra_gated_prompt": terms.conditions, "extra_gated_fields": GATED_FIELDS}
    data = DatasetCardData(
        pretty_name=terms.name,
        **terms.licence,
        task_categories=["image-classification"],
        tags=["facial-expression", "soft-label", "valence-arousal", "affectnet-plus"],
        size_categories=[next((name for limit, name in SIZES if rows < limit), "1M<n<10M")],
        configs=[
            {
                "config_name": view,
                # `datasets` keys its cache by this text and not by what the files hold: without the digest it would
                # give the old rows of a folder that was prepared again.
                "description": f"content {_digest(view, splits, sizes)}",
                "data_files": [{"split": split, "path": pattern_of(view, split)} for split in splits],
                **({"filters": filters(view)} if filters(view) else {}),
            }
            for view, splits in views.items()
        ],
        **gate,
    )
    infos = DatasetInfosDict({view: _info(view, splits, sizes, further) for view, splits in views.items()})
    infos.to_dataset_card_data(data)
    listed = data["dataset_info"]
    for info in listed if isinstance(listed, list) else [listed]:
        info |= _about(terms)  # `load_dataset` reads that, and `to_dataset_card_data` does not write it
    return data


def _about(terms: Terms) -> dict[str, str]:
    about = {"description": terms.description, "homepage": terms.link, "license": terms.conditions}
    return about | ({} if terms.citation is None else {"citation": terms.citation})


def _digest(view: str, splits: dict[str, int], sizes: dict[str, dict]) -> str:
    names = {split: files_of(view, split, sizes) for split in splits}
    lines = [f"{split} {name} {sizes[name]['sha256']}\n" for split in splits for name in names[split]]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _info(view: str, splits: dict[str, int], sizes: dict[str, dict], further: Features | None) -> DatasetInfo:
    """With the rows of each split, so that `load_dataset` notices a file that is missing from a copy.

    Its bytes are those of the files, in proportion to the rows that the view has of theirs.
    """
    parts, downloaded = [], 0
    for split, rows in splits.items():
        files = [sizes[name] for name in files_of(view, split, sizes)]
        held, whole = sum(size["bytes"] for size in files), sum(size["rows"] for size in files)
        parts.append({"name": split, "num_bytes": held * rows // whole, "num_examples": rows})
        downloaded += held
    return DatasetInfo(
        config_name=view,
        features=Features(features(view) | (further or {})),
        splits=parts,
        download_size=downloaded,
        dataset_size=sum(part["num_bytes"] for part in parts),
    )


# --- the counts ------------------------------------------------------------------------------------------------------


def _split_table(splits: dict[str, dict]) -> str:
    rows = [(split, part["rows"], part["quarantined"]) for split, part in splits.items()]
    return markdown_table(("split", "rows", "quarantined"), rows)


def _count_table(splits: dict[str, dict], kind: str, names: tuple[str, ...]) -> str:
    codes = {name: str(code) for code, name in enumerate(names)} | {"unknown": ""}
    rows = [
        (codes[name], name, *(part[kind].get(name, 0) for part in splits.values()))
        for name in codes
        if any(part[kind].get(name) for part in splits.values())
    ]
    return markdown_table(("code", kind.removesuffix("s"), *splits), rows)


def _view_table(views: dict[str, dict[str, int]]) -> str:
    splits = list(dict.fromkeys(split for parts in views.values() for split in parts))
    rows = [(f"`{view}`", *(parts.get(split, 0) for split in splits)) for view, parts in views.items()]
    return markdown_table(("view", *splits), rows)


def _reasons(reasons: dict[str, int]) -> list[tuple[str, int]]:
    """The commonest first, with those together that differ only in a file's name."""
    total: Counter[str] = Counter()
    for reason, count in reasons.items():
        total[_discreet(reason)] += count
    return total.most_common()


def _discreet(text: str) -> str:
    """The text without names of files and without paths: those of licensed faces and of this machine stay here."""
    return escaped(_FILE.sub("'...'", text))


# A quoted text with a dot or a separator in it, or a path from the root that is not quoted.
_FILE = re.compile(r"""'[^']*[./\\][^']*'|"[^"]*[./\\][^"]*"|(?<![\w`.])(/[^\s/,;:)]+){2,}""")
