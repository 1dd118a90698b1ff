"""The card and the Croissant metadata of a prepared folder, with the counts that were found in it."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from datasets.info import DatasetInfo, DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

from affectnet_plus import LABELS, SUBSETS, features
from affectnet_plus_cards import PREPARED_CARD

from ..files import write_json
from ..markdown import escaped
from ..terms import Terms, terms_of
from .columns import column_table, markdown_table
from .croissant import croissant

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
    folder: Path, report: Mapping[str, Any], views: dict[str, dict[str, list[str]]], manifest: dict
) -> None:
    """Write `README.md` and `croissant.json` of a prepared folder.

    The same arguments give the same bytes. Neither file names the machine, a face or its file.

    Args:
        report: the counts; `splits`, `quarantined`, `quarantine_reasons`, and `findings` if the checks have run.
        views: view -> split -> patterns of its files, such as `data/train-emotion-easy-*.parquet`.
        manifest: `files`, path -> rows, bytes, sha256; `source`, whose `origin` decides which terms are stated, with
            `soft_labels` where these were generated; `embedded`, whether the files hold the pictures.
    """
    terms = terms_of(manifest["source"]["origin"], manifest["source"].get("soft_labels"))
    files = {
        view: {split: _matching(patterns, manifest["files"]) for split, patterns in splits.items()}
        for view, splits in views.items()
    }
    card = DatasetCard.from_template(
        _metadata(terms, views, files, manifest["files"]),
        template_path=str(PREPARED_CARD),
        terms=terms,
        this_folder=THIS_FOLDER,
        splits=_split_table(report["splits"]),
        labels=_count_table(report["splits"], "labels", LABELS),
        subsets=_count_table(report["splits"], "subsets", SUBSETS),
        views=_view_table(files, manifest["files"]),
        columns=column_table(),
        quarantined=report["quarantined"],
        reasons=_reasons(report["quarantine_reasons"]),
        most_reasons=MOST_REASONS,
        findings=[finding | {"message": _discreet(finding["message"])} for finding in report.get("findings", [])],
    )
    (folder / "README.md").write_text(str(card), encoding="utf-8")
    write_json(folder / "croissant.json", croissant(terms, files, manifest))


def _matching(patterns: list[str], names) -> list[str]:
    return [name for pattern in patterns for name in sorted(names) if fnmatchcase(name, pattern)]


# --- the head --------------------------------------------------------------------------------------------------------


def _metadata(terms: Terms, views: dict, files: dict, sizes: dict[str, dict]) -> DatasetCardData:
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
                "description": f"content {_digest(files[view], sizes)}",
                "data_files": [{"split": split, "path": patterns} for split, patterns in splits.items()],
            }
            for view, splits in views.items()
        ],
        **gate,
    )
    infos = {view: _info(view, splits, sizes) for view, splits in files.items()}
    DatasetInfosDict(infos).to_dataset_card_data(data)
    return data


def _digest(splits: dict[str, list[str]], sizes: dict[str, dict]) -> str:
    lines = [f"{split} {name} {sizes[name]['sha256']}\n" for split, names in splits.items() for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _info(view: str, splits: dict[str, list[str]], sizes: dict[str, dict]) -> DatasetInfo:
    """With the rows of each split, so that `load_dataset` notices a file that is missing from a copy."""
    total = {
        split: {key: sum(sizes[name][key] for name in names) for key in ("rows", "bytes")}
        for split, names in splits.items()
    }
    size = sum(part["bytes"] for part in total.values())
    return DatasetInfo(
        config_name=view,
        features=features(view),
        splits=[
            {"name": split, "num_bytes": part["bytes"], "num_examples": part["rows"]} for split, part in total.items()
        ],
        download_size=size,
        dataset_size=size,
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


def _view_table(files: dict[str, dict[str, list[str]]], sizes: dict[str, dict]) -> str:
    splits = list(dict.fromkeys(split for parts in files.values() for split in parts))
    rows = [
        (f"`{view}`", *(sum(sizes[name]["rows"] for name in parts.get(split, [])) for split in splits))
        for view, parts in files.items()
    ]
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
