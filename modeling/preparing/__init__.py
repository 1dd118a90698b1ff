"""From faces as delivered to the folder that the stock `datasets.load_dataset` opens."""

from .prepare import format_report, prepare

__all__ = ["format_report", "prepare"]
