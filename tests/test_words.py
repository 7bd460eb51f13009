"""Help texts are whole sentences with their defaults, and docstrings name things; the field's words, not ours."""

import ast
import re
from collections import Counter
from pathlib import Path

import click
import pytest

from sharpbit.app.cli import app

ROOT = Path(__file__).parents[1] / "src" / "sharpbit"
OURS = {
    *("picture", "pictures", "enlarge", "enlarged", "enlarges", "enlarging"),
    *("blame", "blamed", "blames", "bounds", "balance", "balanced", "balancing"),
    *("costly", "cheap", "told", "tells", "kitchen", "handover", "spending"),
}
LEGITIMATE = (
    *("clean-balanced", "photo-balanced", "art-balanced"),  # names of embedded models
    "Trainable Bounds",  # the title of the paper of DDTB
    "bounds of memory",
    "bounds its own memory",
    "tells patches apart",
    "That tells networks apart",
    "tells such a runtime from",
)
FRAGMENT = re.compile(r"^(of|that|from|by|see|in)\b", re.IGNORECASE)
SECTIONS = ("Args:", "Attributes:", "Returns:", "Raises:", "Yields:")


def parameters():
    for name, command in sorted(app.commands.items()):
        for parameter in command.params:
            yield pytest.param(command, parameter, id=f"{name} {parameter.name}")


def ours_in(text):
    """Words of the left column of the table that a text has."""
    for name in LEGITIMATE:
        text = text.replace(name, "")
    text = re.sub(r"`[^`]*`|^ +\w+: ", "", text, flags=re.MULTILINE)  # names, which programs use
    return [word for word in re.findall(r"[a-z]+", text.lower()) if word in OURS]


@pytest.mark.parametrize("command", [app, *app.commands.values()], ids=lambda command: command.name)
def test_help_of_a_command_is_in_sentences(command):
    for paragraph in command.help.strip().split("\n\n"):
        assert paragraph.strip()[0].isupper() or paragraph.strip()[0].isdigit()
        assert paragraph.strip().endswith("."), paragraph
    assert not ours_in(command.help)


@pytest.mark.parametrize(("command", "parameter"), list(parameters()))
def test_help_of_an_option_is_a_sentence_with_its_default(command, parameter):
    if isinstance(parameter, click.Argument):
        name = (parameter.metavar or "").split(".")[0].strip("[]")
        assert name.isupper(), "an argument has a telling name in capitals"
        return
    if parameter.hidden:
        return
    assert parameter.help, "no help"
    sentence = re.sub(r"\s+\[default: .*\]$", "", parameter.help)
    assert sentence[0].isupper() or sentence[0].isdigit(), sentence
    assert sentence.endswith("."), sentence
    assert len(sentence.split()) >= 2
    assert not ours_in(sentence)
    _, record = parameter.get_help_record(click.Context(command))
    if not parameter.is_flag:
        assert "default" in record or "required" in record, record


def documented():
    """Every public module, class and function of the package, with its docstring."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                name = getattr(node, "name", "")
                if text and (not name.startswith("_") or name.startswith("__")):
                    yield path.relative_to(ROOT).as_posix(), name, text


def argument_lines(text):
    """The descriptions of arguments, attributes and errors: what stands after `name: `."""
    inside = False
    for line in text.splitlines():
        if line.strip() in SECTIONS:
            inside = True
        elif line and not line.startswith(" "):
            inside = False
        elif inside and (found := re.match(r"    \*{0,2}[\w, `*]+: (.*)", line)) and not line.startswith("     "):
            yield found[1]


def fragments():
    return [
        (path, name, line) for path, name, text in documented() for line in argument_lines(text) if FRAGMENT.match(line)
    ]


def test_no_argument_line_is_a_fragment():
    found = fragments()
    assert not found, "\n".join(f"{path}: {name}: {line}" for path, name, line in found)


PAGES = [ROOT.parents[1] / "README.md", ROOT.parents[1] / "CONTRIBUTING.md"]
PAGES += [page for page in sorted((ROOT.parents[1] / "docs").rglob("*.md")) if page.parent.name != "decisions"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_the_words_of_the_field(page):
    """But in code, and names of inputs and keys of files, which stand in backquotes."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    assert not ours_in(text)


def test_docstrings_have_the_words_of_the_field():
    found = Counter((path, word) for path, _, text in documented() for word in ours_in(text))
    assert not found, dict(found)
