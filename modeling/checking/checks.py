"""What all rows together say that one row cannot: counts, contradictions, duplicates, and the order of the labels."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from affectnet_plus import EMOTIONS, LABELS, SUBSETS

from ..labels import subsets
from . import published as release
from .affect import AFFECT_PLACES, CONTRADICTIONS, MIN_ROWS, SOFT_PLACES, Moments, Order, compare_orders, suspected
from .duplicates import Pictures, group_equal
from .findings import EXAMPLES, Counts, Finding

OUTSIDE = 0.1  # of the picture's side; the release's own landmarks lie a few pixels of 224 outside at most


@dataclass
class _Tally:
    """Rows with one defect: how many in each split, and the first few of them."""

    counts: Counter = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, split: str, mask: np.ndarray, ids: pa.Array) -> None:
        rows = np.flatnonzero(mask)
        self.counts[split] += len(rows)
        for row in rows[: EXAMPLES - len(self.examples)]:
            self.examples.append(ids[int(row)].as_py())

    def finding(self, level, check: str, text: str) -> Finding | None:
        """None where no row has the defect; `text` follows "3 rows (train 2, validation 1) "."""
        total = sum(self.counts.values())
        if not total:
            return None
        where = ", ".join(f"{split} {count:,}" for split, count in self.counts.items() if count)
        return Finding(level, check, f"{total:,} row{'s' * (total > 1)} ({where}) {text}", total, self.examples)


class _Split:
    """What is remembered of a split: counts, and how labels go with valence, arousal and soft label."""

    def __init__(self) -> None:
        self.labels = np.zeros(len(LABELS) + 1, dtype=int)  # the last is "without"
        self.subsets = np.zeros(len(SUBSETS) + 1, dtype=int)
        self.affect, self.soft = Moments(2), Moments(len(EMOTIONS))


class RowChecks:
    """Looks at rows as they pass, chunk by chunk, and says at the end what is remarkable about them.

    It keeps about 50 bytes a row: the hash of each picture, and its name.
    """

    def __init__(self) -> None:
        self._splits: dict[str, _Split] = {}
        self._tallies: dict[tuple[str, str, str], _Tally] = {}  # (level, check, text) -> rows
        self._files = Pictures()

    def add(self, split: str, table: pa.Table) -> None:
        """Look at some rows of a split.

        Args:
            table: the columns of `affectnet_plus.features("all")`, and file_hash (16 bytes), width and height
                (pixels) of the pictures.
        """
        ids = table["image_id"].combine_chunks()
        seen = self._splits.setdefault(split, _Split())
        label, subset = _codes(table, "label", len(LABELS)), _codes(table, "subset", len(SUBSETS))
        seen.labels += np.bincount(label, minlength=len(LABELS) + 1)
        seen.subsets += np.bincount(subset, minlength=len(SUBSETS) + 1)

        def tally(level: str, check: str, text: str, mask: np.ndarray) -> None:
            if mask.any():
                self._tallies.setdefault((level, check, text), _Tally()).add(split, mask, ids)

        has_soft, soft = _soft_labels(table)
        _check_labels(tally, label, subset, has_soft, soft)
        seen.soft.add(label[has_soft], soft)
        known, affect = _check_affect(tally, label, table)
        seen.affect.add(label[known], affect[known])
        for points in ("landmarks_68", "landmarks_29"):
            tally(
                "warning",
                "landmarks",
                f"have {points} more than {OUTSIDE:.0%} of the picture's side outside it",
                _outside(table, points),
            )
        self._files.add(split, ids, _hashes(table))

    @property
    def counts(self) -> dict[str, Counts]:
        """{"train": {"rows": n, "labels": {"neutral": n, ...}, "subsets": {...}}, ...}, without zeros."""
        return {
            split: {
                "rows": int(seen.labels.sum()),
                "labels": _named(seen.labels, LABELS),
                "subsets": _named(seen.subsets, SUBSETS),
            }
            for split, seen in self._splits.items()
        }

    def findings(self, listed: dict[str, int], published: bool = True) -> list[Finding]:
        """All that is remarkable, and what was found to be as it should.

        Args:
            listed: split -> faces of the source, with those that could not be rows.
            published: compare with the published counts; false for faces that are not the release's.
        """
        found = []
        if published:
            nothing = np.zeros(len(LABELS) + 1, dtype=int)
            found += [
                release.compare_counts(split, self._splits[split].labels if split in self._splits else nothing, count)
                for split, count in listed.items()
            ]
        for (level, check, text), tally in sorted(self._tallies.items(), key=lambda item: item[0][1:]):
            if finding := tally.finding(level, check, text):
                found.append(finding)
        for split, seen in self._splits.items():
            found += _order_findings(split, seen)
        return found + self._files.findings("duplicates", "the same file", group_equal)


# --- one chunk -------------------------------------------------------------------------------------------------------


def _codes(table: pa.Table, column: str, missing: int) -> np.ndarray:
    return pc.fill_null(table[column], missing).to_numpy()


def _named(counts: np.ndarray, names) -> dict[str, int]:
    return {name: int(count) for name, count in zip((*names, "unknown"), counts) if count}


def _soft_labels(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Which rows have a soft label (n,), and the soft labels of these (m, 8)."""
    column = table["soft_label"].combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    return column.is_valid().to_numpy(zero_copy_only=False), values.reshape(-1, len(EMOTIONS))


def _check_labels(tally, label: np.ndarray, subset: np.ndarray, has_soft: np.ndarray, soft: np.ndarray) -> None:
    tally("warning", "soft label", "have none", ~has_soft)
    empty = np.zeros(len(label), dtype=bool)
    empty[has_soft] = ~soft.any(axis=1)
    tally("warning", "soft label", "have one of zeros alone, which no distribution can be made of", empty)
    emotion = label < len(EMOTIONS)
    judged = has_soft & emotion
    expected = np.full(len(label), len(SUBSETS))
    expected[judged] = subsets(label[judged], soft[judged[has_soft]])
    given = subset < len(SUBSETS)
    broken = judged & given & (subset != expected)
    tally("warning", "subset", "have a subset that is not what the rank of the label in the soft label says", broken)
    tally("note", "subset", "have an emotion as label, but no subset", emotion & ~given)


def _check_affect(tally, label: np.ndarray, table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Which rows have both valence and arousal (n,), and the two (n, 2), NaN where not known."""
    columns = [pc.fill_null(table[name], np.nan).to_numpy() for name in ("valence", "arousal")]
    affect = np.column_stack(columns)
    missing = np.isnan(affect)
    known = ~missing.any(axis=1)
    tally("note", "valence and arousal", "have neither", missing.all(axis=1))
    tally("warning", "valence and arousal", "have only one of the two", missing[:, 0] ^ missing[:, 1])
    for code, name in enumerate(EMOTIONS):
        words, contradicts = CONTRADICTIONS[name]
        rows = np.flatnonzero(known & (label == code))
        mask = np.zeros(len(label), dtype=bool)
        mask[rows] = contradicts(affect[rows, 0], affect[rows, 1])
        tally("warning", "label against affect", f"are labelled {name} but have {words}", mask)
    return known, affect


def _outside(table: pa.Table, name: str) -> np.ndarray:
    column = table[name].combine_chunks().storage
    points = column.flatten().flatten().to_numpy(zero_copy_only=False)
    mask = np.zeros(len(table), dtype=bool)
    if not len(points):
        return mask
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    sides = np.column_stack([table["width"].to_numpy(), table["height"].to_numpy()])[rows]
    points = points.reshape(len(rows), -1)
    short = sides.min(axis=1)
    # x and y told apart is ten times slower, so that is left to the few rows that may be concerned.
    few = np.flatnonzero((points.min(axis=1) < -OUTSIDE * short) | (points.max(axis=1) > (1 + OUTSIDE) * short))
    pairs, limits = points[few].reshape(len(few), points.shape[1] // 2, 2), sides[few][:, None]
    mask[rows[few]] = ((pairs < -OUTSIDE * limits) | (pairs > (1 + OUTSIDE) * limits)).any(axis=(1, 2))
    return mask


def _hashes(table: pa.Table) -> np.ndarray:
    """(n, 2) uint64: the 16 bytes of each hash."""
    column = table["file_hash"].combine_chunks()
    values = np.frombuffer(column.buffers()[1], np.uint64)
    return values[2 * column.offset : 2 * (column.offset + len(column))].reshape(-1, 2)


# --- the order of the labels -----------------------------------------------------------------------------------------


def _order_findings(split: str, seen: _Split) -> list[Finding]:
    found, fitting = [], []
    for by, moments, places, columns in (
        ("soft labels", seen.soft, SOFT_PLACES, True),
        ("valence and arousal", seen.affect, AFFECT_PLACES, False),
    ):
        orders = compare_orders(moments, places, columns)
        if wrong := suspected(orders):
            found.append(_suspicion(split, by, wrong, int(moments.counts.sum())))
        elif orders:
            fitting.append(f"{by} (compared with {', '.join(sorted({order.name for order in orders}))})")
    if fitting:
        found.append(
            Finding(
                "note",
                "label order",
                f"{split}: the labels are in AffectNet's order, as far as "
                f"other orders fit no better to {' and '.join(fitting)}",
            )
        )
    if not found:
        found.append(
            Finding(
                "note",
                "label order",
                f"{split}: cannot be judged with fewer than {MIN_ROWS} rows of a "
                "label that have a soft label, or valence and arousal",
            )
        )
    return found


def _suspicion(split: str, by: str, order: Order, rows: int) -> Finding:
    message = (
        f"{split}: {order.what} seem to be in the order {order.name!r} rather than in AffectNet's: {by} then fit "
        f"clearly better (gain {order.gain:.2f} of at most about 1, {order.deviations:.0f} standard errors). Put them "
        "into AffectNet's order at their source"
    )
    return Finding("error", "label order", message, rows)
