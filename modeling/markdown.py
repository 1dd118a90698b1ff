"""What cards are made of: text that others wrote, told and never obeyed, and the head that the Hub reads."""

import re
from pathlib import Path

import yaml
from huggingface_hub import CardData
from jinja2 import Environment, StrictUndefined

MOST = 200  # characters of one name or reason: what is longer is no name


def escaped(text: str, most: int = MOST) -> str:
    """The text as one line of Markdown that shows it: no tag, link, picture, code, emphasis or heading comes of it.

    What is longer than `most` characters is cut, and says so.
    """
    line = " ".join(text.split())
    if len(line) > most:
        line = f"{line[:most]}... ({len(line):,} characters)"
    return re.sub(r"^(?=[#>+=~-]|\d+[.)]\s)|(?=[\\`*<]|\][(\[])", r"\\", line)


def yaml_head(data: CardData) -> str:
    """The YAML of a card, without the lines `---` around it, as `data.to_yaml()` would say it, but by libyaml.

    What Python writes of a data set with eight views takes .1 s, more than all else that a small `prepare` does.
    """
    return yaml.dump(data.to_dict(), Dumper=yaml.CDumper, sort_keys=False, allow_unicode=True).strip()


def rendered(template: Path, **values) -> str:
    """The template of a card with its values; what is missing raises jinja2's UndefinedError, and leaves no blank."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(template.read_text(encoding="utf-8")).render(**values)
