"""The card templates, as files that travel with the package."""

from pathlib import Path

PREPARED_CARD = Path(__file__).with_name("prepared_card.md")
MODEL_CARD = Path(__file__).with_name("model_card.md")
