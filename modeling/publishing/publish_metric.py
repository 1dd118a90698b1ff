"""A metric to the Hub, as a Space, which is where `evaluate.load("user/name")` looks for it."""

import html
import re
from dataclasses import dataclass
from pathlib import Path

from ..sentences import lacks
from .guard import Contents
from .hub import HubOptions, Repository

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<style>body {{ font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em }}
pre {{ white-space: pre-wrap }}</style>
<pre>{card}</pre>
</html>
"""


@dataclass(frozen=True)
class Metric:
    """The folder of a metric: its code, its card and a page that shows it; `evaluate.load(repo_id)` loads it."""

    folder: str | Path
    message = "Publish metric"

    def contents(self, repo_id: str) -> Contents:
        """Every Python file beside `<name>.py`, and the card, which loads the metric from where it is published.

        Raises:
            FileNotFoundError: it is no folder of a metric.
            ValueError: the repository has another name than the metric.
        """
        folder = Path(self.folder)
        name = folder.resolve().name
        missing = [file for file in (f"{name}.py", "README.md") if not (folder / file).is_file()]
        if missing:
            raise FileNotFoundError(f"{lacks(folder, missing)}; give the folder of a metric")
        if repo_id.rpartition("/")[2] != name:
            raise ValueError(
                f"evaluate looks for a file of the repository's own name: call it {name}, as the metric is"
            )
        card = (folder / "README.md").read_text(encoding="utf-8")
        card = re.sub(rf'evaluate\.load\("[^"]*{name}"', f'evaluate.load("{repo_id}"', card)
        page = _PAGE.format(name=name, card=html.escape(card.partition("\n---\n")[2].strip()))
        code = {path.name: path for path in sorted(folder.glob("*.py"))}
        return {"README.md": card.encode(), "index.html": page.encode(), **code}

    def repository(self, repo_id: str, options: HubOptions) -> Repository:
        """Raises ValueError: Spaces have no gate."""
        if options.gated:
            raise ValueError("Spaces have no gate; ask for --private or --public")
        return Repository(repo_id, "space", closed=False, ours=re.compile(r"[\w]+\.py"), sdk="static")
