"""The card templates, as files that travel with the package."""

from pathlib import Path

DATASET_CARD = Path(__file__).with_name("dataset_card.md")
MODEL_CARD = Path(__file__).with_name("model_card.md")
