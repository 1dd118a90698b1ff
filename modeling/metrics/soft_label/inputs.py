"""What the rows given to a metric must be. The same file in every folder of metrics, as each is published alone."""

import numpy as np

SUM_TOLERANCE = 1e-4


def same_shape(first, second) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 arrays.

    Raises:
        ValueError: their shapes differ.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"shapes {first.shape} and {second.shape} differ, expected the same")
    return first, second


def table(name: str, rows: list, width: int | None = None) -> np.ndarray:
    """(n, width) float64 of a list of lists of numbers; a row that is None, and a None within one, are NaN.

    Args:
        width: how many numbers a row has; without it as many as the first one.

    Raises:
        ValueError: there are no rows, or one has another number of values; `name` and the first such row are named.
    """
    if len(rows) == 0:
        raise ValueError(f"there are no rows to evaluate: {name} holds 0")
    if width is None:
        width = next((len(values) for values in rows if values is not None), 0)
    for row, values in enumerate(rows):
        if values is not None and len(values) != width:
            raise ValueError(f"{name} of row {row}: found {len(values)} values, expected {width}")
    return np.array([[np.nan] * width if values is None else values for values in rows], dtype=np.float64)


def check_rows(name: str, rows: np.ndarray, good: np.ndarray, expected: str) -> None:
    """Refuse the first of the (n, ...) rows that is not `good` (n,).

    Raises:
        ValueError: it names that row, and says what was found and expected.
    """
    if not good.all():
        row = int(np.argmin(good))
        found = np.array2string(rows[row], precision=6, separator=", ", max_line_width=200)
        raise ValueError(f"{name} of row {row}: found {found}, expected {expected}")


def check_distributions(name: str, rows: np.ndarray, unknown: bool) -> None:
    """Refuse rows (n, classes) that are negative, not finite or do not sum to 1 within 1e-4.

    Args:
        unknown: whether a row may be all NaN.

    Raises:
        ValueError: it names the first such row; or there are fewer than 2 classes.
    """
    if rows.shape[1] < 2:
        raise ValueError(f"{name} are rows of {rows.shape[1]} values, expected at least 2 classes")
    good = (rows >= 0).all(axis=1) & (np.abs(rows.sum(axis=1) - 1) <= SUM_TOLERANCE)
    if unknown:
        good |= np.isnan(rows).all(axis=1)
    otherwise = ", or all NaN where unknown" if unknown else ""
    check_rows(name, rows, good, f"a distribution{otherwise}. Divide by the sum first")
