"""Pictures that are there twice: the same file, or the same picture cropped, scaled or compressed another way.

A picture is described by two perceptual hashes of 64 bits from ImageHash: `phash` (the signs of its low frequencies
around their median) and `dhash` (the signs of its horizontal differences). Two pictures are near duplicates when
they differ in at most `PHASH_DISTANCE` and `DHASH_DISTANCE` bits. Neither alone is enough for faces, which all look
alike to a hash: among the 12.5 million pairs of 5,000 different people (FairFace), `phash` alone calls 6 pairs near
at 4 bits, of which 3 are different people; with `dhash` the 3 that are one photograph remain. Of 510 million pairs
in FER+ both call some 3,200 near; looked at from the doubtful end, they are the same photograph or its neighbour.
"""

import itertools
from collections.abc import Callable, Iterator
from io import BytesIO

import imagehash
import numpy as np
import pyarrow as pa
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from affectnet_plus import SPLITS

from .findings import EXAMPLES, Finding

PHASH_DISTANCE = 4
DHASH_DISTANCE = 6
FLAT = 16  # of 255: a picture with less between its darkest and its brightest pixel has noise for a hash


def perceptual_hash(image: bytes) -> tuple[int, int] | None:
    """(phash, dhash) of a JPEG or PNG, 64 bits each; None for a picture of one colour, which looks like every other.

    Raises:
        OSError: the picture cannot be decoded.
    """
    with Image.open(BytesIO(image), formats=("JPEG", "PNG")) as picture:
        picture.draft("L", (64, 64))  # JPEG alone: decodes at a fraction of the size, in half of the time
        grey = picture.convert("L")
    if np.ptp(np.asarray(grey)) < FLAT:
        return None
    return int(str(imagehash.phash(grey)), 16), int(str(imagehash.dhash(grey)), 16)


def group_near(hashes: np.ndarray) -> np.ndarray:
    """Groups of near duplicates: pictures that are connected by pairs of near ones.

    Args:
        hashes: (n, 2) uint64, phash and dhash.

    Returns:
        (n,) number of the group of each picture; a picture alone is a group too.
    """
    different, which = np.unique(hashes, axis=0, return_inverse=True)
    pairs = near_pairs(different[:, 0], PHASH_DISTANCE)
    apart = np.bitwise_count(different[pairs[:, 0], 1] ^ different[pairs[:, 1], 1])
    left, right = pairs[apart <= DHASH_DISTANCE].T
    links = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(len(different), len(different)))
    return connected_components(links, directed=False)[1][which.reshape(-1)]


def near_pairs(hashes: np.ndarray, distance: int) -> np.ndarray:
    """Every pair of hashes that differ in at most `distance` bits, found exactly.

    Cut into m bands of bits, two hashes that differ in `distance` bits agree in m - `distance` of the bands at least,
    so only hashes that share that many are compared (Manku, Jain & Das Sarma 2007). The more hashes there are, the
    more bands, and bits that have to be shared: few share them by chance, and the time grows by little more than n.

    Args:
        hashes: (n,) uint64.
        distance: 0 to 63.

    Returns:
        (pairs, 2) indices, the smaller one first, in ascending order.
    """
    found = [np.empty((0, 2), dtype=np.int64)]
    for mask in _masks(_bands(len(hashes), distance), distance):
        found.append(np.unique(np.sort(_near_with_key(hashes, hashes & mask, distance), axis=1), axis=0))
    return np.unique(np.concatenate(found), axis=0)


def _bands(number: int, distance: int) -> int:
    """As few as leave a hash some 8 others by chance to be compared with."""
    bands = distance + 1
    while 64 * (bands - distance) / bands < np.log2(max(number, 1)) - 3 and bands < 64:
        bands += 1
    return bands


def _masks(bands: int, distance: int) -> Iterator[np.uint64]:
    """The bits of every choice of bands - `distance` bands."""
    edges = np.linspace(0, 64, bands + 1).astype(int).tolist()
    parts = [(1 << high) - (1 << low) for low, high in itertools.pairwise(edges)]
    for chosen in itertools.combinations(parts, bands - distance):
        yield np.uint64(sum(chosen))


def _near_with_key(hashes: np.ndarray, keys: np.ndarray, distance: int) -> np.ndarray:
    """Pairs (m, 2) among the hashes with the same key: in the order of the keys, each is compared with the one after
    it, then with the second, and so on to the end of its group. Memory is that of the hashes and of what is found."""
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], hashes[order]
    ends = np.repeat(groups := np.flatnonzero(np.r_[keys[1:] != keys[:-1], True]) + 1, np.diff(groups, prepend=0))
    step, left, found = 1, np.arange(len(order)), [np.empty((0, 2), dtype=np.int64)]
    while len(left := left[left + step < ends[left]]):
        near = left[np.bitwise_count(values[left] ^ values[left + step]) <= distance]
        found.append(np.column_stack([order[near], order[near + step]]))
        step += 1
    return np.concatenate(found)


def group_equal(keys: np.ndarray) -> np.ndarray:
    """(n,) number of the group of each row of `keys` (n, 2): rows with the same two values are one group."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    new = np.ones(len(keys), dtype=bool)
    new[1:] = (keys[order][1:] != keys[order][:-1]).any(axis=1)
    groups = np.empty(len(keys), dtype=np.int64)
    groups[order] = np.cumsum(new) - 1
    return groups


class Pictures:
    """Collects pictures with a key each, and says at the end which of them are the same; about 50 bytes a picture."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, pa.Array, np.ndarray]] = []

    def add(self, split: str, ids: pa.Array, keys: np.ndarray) -> None:
        """Some pictures of a split: their image_ids and their keys (n, 2) uint64."""
        # Copies: slices would keep whole tables alive.
        self._parts.append((split, ids.take(pa.array(np.arange(len(ids)))), keys.copy()))

    def findings(self, check: str, what: str, group: Callable[[np.ndarray], np.ndarray]) -> list[Finding]:
        """Copies within each split, and pictures that two splits share.

        Args:
            check: the name of the check.
            what: what the pictures of a group are, such as "the same file".
            group: `group_equal` or `group_near`.
        """
        if not self._parts:
            return []
        splits = sorted({split for split, _, _ in self._parts}, key=list(SPLITS).index)
        sizes = [len(ids) for _, ids, _ in self._parts]
        codes = np.repeat([splits.index(split) for split, _, _ in self._parts], sizes)
        ids = pa.chunked_array([ids for _, ids, _ in self._parts])
        groups = group(np.concatenate([keys for _, _, keys in self._parts]))
        return _describe(check, what, groups, codes, splits, lambda row: ids[row].as_py())


def _describe(
    check: str, what: str, groups: np.ndarray, codes: np.ndarray, splits: list[str], name: Callable[[int], str]
) -> list[Finding]:
    """`groups` (n,): the group of each picture; `codes` (n,): its split; `name`: the image_id of a row."""
    size = int(groups.max(initial=-1)) + 1
    held = np.stack([np.bincount(groups[codes == code], minlength=size) for code in range(len(splits))])
    found = []
    for one, split in enumerate(splits):
        rows = np.flatnonzero((codes == one) & (held[one] > 1)[groups])
        if len(rows):
            message = f"{len(rows):,} pictures of {split} are {what} in {(held[one] > 1).sum():,} groups"
            found.append(Finding("warning", check, message, len(rows), _examples(rows, rows, groups, name)))
    for one, other in itertools.combinations(range(len(splits)), 2):
        shared = ((held[one] > 0) & (held[other] > 0))[groups]
        left, right = np.flatnonzero(shared & (codes == one)), np.flatnonzero(shared & (codes == other))
        if len(left):
            message = f"{len(right):,} pictures of {splits[other]} are {what} as {len(left):,} of {splits[one]}"
            leak = (splits[one], splits[other]) == ("train", "validation")
            examples = _examples(right, left, groups, name)
            found.append(Finding("warning", f"{check}, leakage" if leak else check, message, len(right), examples))
    return found or [Finding("note", check, f"no two pictures are {what}")]


def _examples(rows: np.ndarray, partners: np.ndarray, groups: np.ndarray, name: Callable[[int], str]) -> list[str]:
    """ "a = b" for the first few groups: its first row among `rows`, and its first other one among `partners`."""
    firsts = rows[np.sort(np.unique(groups[rows], return_index=True)[1])][:EXAMPLES]
    pairs = [(row, partners[(groups[partners] == groups[row]) & (partners != row)][0]) for row in firsts]
    return [f"{name(int(row))} = {name(int(partner))}" for row, partner in pairs]
