"""
`oidcgate completion`: what bash, zsh or fish need to complete our commands, options and files.

Pure. The scripts are made of the very parser that reads the command line, so that neither can know what the other does
not; they are static, since nobody wants to wait for a program at every press of a key. argparse has no public way to be
read, hence its underscored names here.
"""

import argparse
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

SHELLS: Final = ("bash", "fish", "zsh")
Value = tuple[str, ...] | Literal["file", "text"] | None  # words to choose from; None = it takes no value


@dataclass(frozen=True, slots=True)
class Option:
    """An option's spellings, what it says of itself, and what comes after it."""

    flags: tuple[str, ...]
    help: str
    value: Value
    several: bool
    apart: tuple[str, ...]  # options that do not go with it


@dataclass(frozen=True, slots=True)
class Command:
    """A command, its options, and what its other words may be, in order; the last of them perhaps again and again."""

    name: str
    help: str
    options: tuple[Option, ...]
    words: tuple[tuple[str, Value], ...]
    several: bool


def add_completion(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The options of ``completion``."""
    command = commands.add_parser("completion", help="print what a shell needs to complete our commands")
    command.add_argument("shell", choices=SHELLS, help="whose words it is written in")


def completion(shell: str, parser: argparse.ArgumentParser) -> int:
    """Print a shell's script."""
    print({"bash": bash, "fish": fish, "zsh": zsh}[shell](read_parser(parser)), end="")
    return 0


# The parser.


def read_parser(parser: argparse.ArgumentParser) -> list[Command]:
    """The program itself (without a name) and its commands; those without a help text are nobody's to type."""
    top = _command("", "", parser)
    (found,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    listed = [(choice.dest, choice.help or "") for choice in found._choices_actions]
    return [top, *(_command(name, text, found.choices[name]) for name, text in listed)]


def _command(name: str, text: str, parser: argparse.ArgumentParser) -> Command:
    actions = [action for action in parser._actions if not isinstance(action, argparse._SubParsersAction)]
    words = [action for action in actions if not action.option_strings]
    return Command(
        name,
        text,
        tuple(_option(action, parser) for action in actions if action.option_strings),
        tuple((str(action.metavar or action.dest), _value(action)) for action in words),
        bool(words) and words[-1].nargs in ("+", "*"),
    )


def _option(action: argparse.Action, parser: argparse.ArgumentParser) -> Option:
    groups = [group for group in parser._mutually_exclusive_groups if action in group._group_actions]
    apart = [
        flag
        for group in groups
        for other in group._group_actions
        if other is not action
        for flag in other.option_strings
    ]
    several = isinstance(action, argparse._AppendAction | argparse._ExtendAction)
    return Option(tuple(action.option_strings), action.help or "", _value(action), several, tuple(apart))


def _value(action: argparse.Action) -> Value:
    """What may come there."""
    if action.nargs == 0:
        return None
    if action.choices is not None:
        return tuple(map(str, action.choices))
    is_file = action.type is Path or str(action.metavar or "") in ("FILE", "PATH")
    return "file" if is_file else "text"


def _first_words(command: Command) -> tuple[str, ...]:
    """The words to choose from that a command asks for, if any."""
    return next((value for _, value in command.words if isinstance(value, tuple)), ())


def _takes_files(command: Command) -> bool:
    return any(value == "file" for _, value in command.words)


# bash

BASH: Final = """\
# bash completion for oidcgate; in ~/.bashrc: source <(oidcgate completion bash)
_oidcgate() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= typed= each
    if [[ $word == "=" ]]; then # --option=value is three words to bash
        word=
    elif [[ $before == "=" ]]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ -z $command && $each != -* ]]; then
            command=$each
        else
            typed+=" $each "
        fi
    done
    local options= words= files=
    case $command in
@commands@
        *) return ;;
    esac
    COMPREPLY=()
    case "$command $before" in
@values@
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
        return
    fi
    for each in $words; do
        if [[ $typed == *" $each "* ]]; then
            words=
        fi
    done
    if [[ -n $words ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    elif [[ -n $files ]]; then
        _oidcgate_files "$word"
    fi
}
_oidcgate_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
}
complete -F _oidcgate oidcgate
"""


def bash(commands: Sequence[Command]) -> str:
    """The script for bash 4 or newer, which needs no further package."""
    arms: list[str] = []
    values: list[str] = []
    for command in commands:
        others = " ".join(other.name for other in commands if other.name)
        words = " ".join(_first_words(command)) if command.name else others
        options = " ".join(flag for option in command.options for flag in option.flags)
        files = "yes" if _takes_files(command) else ""
        name = command.name or "''"
        arms.append(f"        {name}) options='{options}' words='{words}' files={files} ;;")
        values += _bash_values(command)
    return BASH.replace("@commands@", "\n".join(arms)).replace("@values@", "\n".join(values))


def _bash_values(command: Command) -> Iterable[str]:
    """What comes after each option that takes a value."""
    for option in command.options:
        if option.value is None:
            continue
        pattern = " | ".join(f'"{command.name} {flag}"' for flag in option.flags)
        if option.value == "file":
            act = '_oidcgate_files "$word"; return'
        elif option.value == "text":
            act = "return"
        else:
            act = f"mapfile -t COMPREPLY < <(compgen -W '{' '.join(option.value)}' -- \"$word\"); return"
        yield f"        {pattern}) {act} ;;"


# zsh

ZSH: Final = """\
#compdef oidcgate
# zsh completion for oidcgate; in ~/.zshrc, after compinit: source <(oidcgate completion zsh)
_oidcgate() {
    local context state state_descr line
    local -A opt_args
    _arguments -C @top@ ': :->command' '*:: :->rest' && return
    case $state in
        command)
            local -a commands=(
@names@
            )
            _describe -t commands command commands
            ;;
        rest)
            case $words[1] in
@commands@
            esac
            ;;
    esac
}
if [ "$funcstack[1]" = _oidcgate ]; then
    _oidcgate "$@"
else
    compdef _oidcgate oidcgate
fi
"""


def zsh(commands: Sequence[Command]) -> str:
    """The script for zsh, to be sourced or to be put on its fpath as ``_oidcgate``."""
    top, *named = commands
    names = [f"                {shlex.quote(f'{one.name}:{one.help}')}" for one in named]
    arms = [f"                {one.name}) _arguments {' '.join(_zsh_words(one))} ;;" for one in named]
    parts = {"@top@": " ".join(_zsh_options(top)), "@names@": "\n".join(names), "@commands@": "\n".join(arms)}
    text = ZSH
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def _zsh_words(command: Command) -> list[str]:
    specs = _zsh_options(command)
    for number, (name, value) in enumerate(command.words, start=1):
        place = "*" if command.several and number == len(command.words) else str(number)
        specs.append(shlex.quote(f"{place}:{name}:{_zsh_action(value)}"))
    return specs


def _zsh_options(command: Command) -> list[str]:
    specs = []
    for option in command.options:
        for flag in option.flags:
            apart = "*" if option.several else f"({' '.join(dict.fromkeys([*option.flags, *option.apart]))})"
            text = option.help.translate({ord(mark): f"\\{mark}" for mark in "[]:\\"})
            after = "" if option.value is None else f":value:{_zsh_action(option.value)}"
            joined = "=" if after and flag.startswith("--") else ""  # the value may also stand behind a =
            specs.append(shlex.quote(f"{apart}{flag}{joined}[{text}]{after}"))
    return specs


def _zsh_action(value: Value) -> str:
    if value == "file":
        return "_files"
    return f"({' '.join(value)})" if isinstance(value, tuple) else " "


# fish


def fish(commands: Sequence[Command]) -> str:
    """The script for fish."""
    top, *named = commands
    alone = "'not __fish_seen_subcommand_from " + " ".join(one.name for one in named) + "'"
    lines = [
        "# fish completion for oidcgate; in ~/.config/fish/config.fish: oidcgate completion fish | source",
        "complete -c oidcgate -f",
        *_fish_options(top, alone),
    ]
    for command in named:
        lines.append(f"complete -c oidcgate -n {alone} -a {command.name} -d {_fish_quoted(command.help)}")
        within = f"__fish_seen_subcommand_from {command.name}"
        lines += _fish_options(command, _fish_quoted(within))
        words = " ".join(_first_words(command))
        after = f"{within}; and __fish_seen_subcommand_from {words}" if words else within
        if words:
            chosen = f"{within}; and not __fish_seen_subcommand_from {words}"
            lines.append(f"complete -c oidcgate -n {_fish_quoted(chosen)} -a {_fish_quoted(words)}")
        if _takes_files(command):
            lines.append(f"complete -c oidcgate -n {_fish_quoted(after)} -F")
    return "\n".join([*lines, ""])


def _fish_options(command: Command, condition: str) -> Iterable[str]:
    for option in command.options:
        flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
        if option.value is None:
            after = ""
        elif option.value == "file":
            after = " -r -F"
        else:
            after = " -x" + (f" -a {_fish_quoted(' '.join(option.value))}" if option.value != "text" else "")
        yield f"complete -c oidcgate -n {condition} {flags}{after} -d {_fish_quoted(option.help)}"


def _fish_quoted(text: str) -> str:
    """A word for fish, where only these two mean anything between single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
