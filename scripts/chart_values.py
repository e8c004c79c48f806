#!/usr/bin/env python3
"""Writes what the chart says about its values: values.yaml and the table in its README.

Each value stands once, in values.schema.json, with type, meaning and default. Helm itself knows no defaults of a
schema, and people read values.yaml; so both are written from it and can't disagree.

    scripts/chart_values.py            writes them
    scripts/chart_values.py --check    fails if one is not as it would be written
"""

import json
import sys
import textwrap
from pathlib import Path

CHART = Path(__file__).resolve().parent.parent / "charts" / "tidegate"
BEGIN, END = "<!-- values: begin, written by `make generate` -->\n", "<!-- values: end -->\n"
WIDTH = 120


def yaml_lines(value, indent):
    """A default as lines of block YAML. Scalars and empty collections are written as JSON, which is YAML too."""
    pad = "  " * indent
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, list):
            first, *rest = yaml_lines(item, 0) if isinstance(item, dict) else [json.dumps(item)]
            yield f"{pad}- {first}"
            yield from (f"{pad}  {line}" for line in rest)
        elif isinstance(item, dict | list) and item:
            yield f"{pad}{key}:"
            yield from yaml_lines(item, indent + 1)
        else:
            yield f"{pad}{key}: {json.dumps(item)}"


def values_lines(properties, indent=0):
    """The properties of an object as commented YAML; those that are objects of our own go one level deeper."""
    pad = "  " * indent
    for name, schema in properties.items():
        if indent == 0:
            yield ""
        comment = f"{pad}# "
        yield from textwrap.wrap(
            schema["description"], WIDTH, initial_indent=comment, subsequent_indent=comment,
            break_on_hyphens=False, break_long_words=False,
        )
        if "properties" in schema:
            yield f"{pad}{name}:"
            yield from values_lines(schema["properties"], indent + 1)
        else:
            yield from yaml_lines({name: schema["default"]}, indent)


def table_lines(properties, parent=""):
    """A row for each value, and one for each object of values that says what they are about."""
    for name, schema in properties.items():
        path = parent + name
        if "properties" in schema:
            yield f"| **`{path}`** | | {schema['description']} |"
            yield from table_lines(schema["properties"], f"{path}.")
        else:
            default = json.dumps(schema["default"])
            shown = f"`{default}`" if len(default) <= 40 else "see `values.yaml`"
            yield f"| `{path}` | {shown} | {schema['description']} |"


def generated(properties):
    """The files and what each must hold."""
    values = CHART / "values.yaml"
    head = "# Written by `make generate` from values.schema.json; change that.\n"
    yield values, head + "\n".join(values_lines(properties)) + "\n"

    readme = CHART / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"{readme} lacks the lines that the table of values goes between:\n{BEGIN}{END}")
    rows = ["| value | default | |", "|---|---|---|", *table_lines(properties)]
    yield readme, before + BEGIN + "\n".join(rows) + "\n" + END + after


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    schema = json.loads((CHART / "values.schema.json").read_text())
    for path, text in generated(schema["properties"]):
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path} is not what values.schema.json says; run `make generate`")


if __name__ == "__main__":
    main()
