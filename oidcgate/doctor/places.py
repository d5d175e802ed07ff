"""
In which line of the configuration file a key stands.

Pure. A key that is not written there, because its default holds, stands where its section begins.
"""

from collections.abc import Iterator, Mapping

import yaml


def lines_of(text: str) -> dict[str, int]:
    """The line of each YAML path in a document that has been read before, such as ``sites[0].url``."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return {} if node is None else dict(_lines(node, "", frozenset()))


def _lines(node: yaml.Node, path: str, above: frozenset[int]) -> Iterator[tuple[str, int]]:
    if id(node) in above:
        return  # an alias of what it stands in
    above |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield f"{path}[{index}]", item.start_mark.line + 1
            yield from _lines(item, f"{path}[{index}]", above)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{path}.{key.value}" if path else str(key.value)
            yield below, key.start_mark.line + 1
            yield from _lines(value, below, above)


def place(key: str, *, file: str, lines: Mapping[str, int]) -> str:
    """``gate.yaml:7: provider.issuer``; what is no key of the file stays as it is."""
    if ": " in key:
        return key
    line = next((lines[path] for path in _ancestry(key) if path in lines), None)
    return f"{file}: {key}" if line is None else f"{file}:{line}: {key}"


def _ancestry(key: str) -> Iterator[str]:
    """A path, and what it stands in."""
    while key:
        yield key
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
