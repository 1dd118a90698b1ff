"""What a script begins with that shows what works where no package of ours can be imported."""

ALONE = """
import importlib, sys

HIDDEN = ("affectnet_plus", "affectnet_plus_modeling", "affectnet_plus_cards")

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hide())
for name in HIDDEN:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported, so this process shows nothing")
"""
