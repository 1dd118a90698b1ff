"""The verb that prints what a shell needs to complete verbs, options and their choices."""

from collections.abc import Callable
from dataclasses import dataclass

from ..options import option
from .arguments import SWITCH, Leaf, Verb, leaves

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True)
class Completion:
    """Print the completion of a shell: what follows affectnet-plus when you press Tab."""

    shell: str = option(help=f"your shell: {', '.join(SHELLS)}", choices=SHELLS, positional=True)


def completion_verb(verbs: Callable[[], dict[str, Verb]]) -> Verb:
    """The verb; `verbs` gives all of them, this one too."""

    def run(options: Completion) -> int:
        print(_fish(verbs()) if options.shell == "fish" else _bash(verbs(), options.shell == "zsh"))
        return 0

    examples = ("bash >> ~/.bash_completion", "fish > ~/.config/fish/completions/affectnet-plus.fish")
    return Verb("completion", Completion, run, examples)


def _flags(verb: Verb) -> dict[str, Leaf]:
    return {leaf.name: leaf for leaf in leaves(verb.options) if not leaf.told.get("positional")}


def _further(verb: Verb) -> list[str]:
    return ["--help", *(["--options"] if verb.reads_options else [])]


def _choices(leaf: Leaf) -> tuple[str, ...]:
    return tuple(SWITCH) if leaf.kind is bool and not leaf.switch else leaf.told.get("choices", ())


def _bash(verbs: dict[str, Verb], zsh: bool) -> str:
    """zsh runs completions of bash, once it is told to."""
    cases = []
    for name, verb in verbs.items():
        flags = _flags(verb)
        for flag, leaf in flags.items():
            if _choices(leaf):
                cases.append(f"    '{name} {flag}') words='{' '.join(_choices(leaf))}' ;;")
        cases.append(f"    '{name} '*) [[ $word == -* ]] && words='{' '.join([*flags, *_further(verb)])}' ;;")
    return "\n".join(
        [
            *(["autoload -U +X compinit bashcompinit && compinit && bashcompinit"] if zsh else []),
            "_affectnet_plus() {",
            "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=''",
            f"  [[ $COMP_CWORD == 1 ]] && words='{' '.join(verbs)} --help --version'",
            '  [[ $COMP_CWORD != 1 ]] && case "${COMP_WORDS[1]} $before" in',
            *cases,
            "  esac",
            '  COMPREPLY=($(compgen -W "$words" -- "$word"))',
            "}",
            "complete -o default -F _affectnet_plus affectnet-plus",
        ]
    )


def _fish(verbs: dict[str, Verb]) -> str:
    lines = []
    for name, verb in verbs.items():
        lines.append(
            f"complete -c affectnet-plus -n __fish_use_subcommand -a {name} -d {_quoted(verb.options.__doc__)}"
        )
        here = f"complete -c affectnet-plus -n '__fish_seen_subcommand_from {name}'"
        for flag, leaf in _flags(verb).items():
            long = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            values = f" -xa '{' '.join(_choices(leaf))}'" if _choices(leaf) else "" if leaf.switch else " -r"
            lines.append(f"{here} {long}{values} -d {_quoted(leaf.told.get('help', ''))}")
        lines += [f"{here} -l {flag[2:]}" for flag in _further(verb)]
    return "\n".join(lines)


def _quoted(text: str | None) -> str:
    return "'" + (text or "").replace("\\", "\\\\").replace("'", "\\'") + "'"
