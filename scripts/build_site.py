"""Build the documentation as a site: `python scripts/build_site.py [FOLDER]`, by default build/site.

The pages of docs/ are copied, and with them those that lie elsewhere (the changelog, how to contribute, measurements);
the command reference is written from the help texts, and the decisions go into the menu. Zensical builds all of it,
strictly: a link to a page or heading that does not exist fails.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import yaml

from sharpbit.app.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
ELSEWHERE = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "bench/README.md": "measured.md",
    "evidence/README.md": "evidence_tables.md",
}
LINK = re.compile(r"(!?\[[^\]\n]*\])\(([^)\s#]+)(#[^)\s]*)?\)")


def main() -> None:
    """Build the site in the folder that was named."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "site").resolve()
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        collect(stage)
        zensical = shutil.which("zensical", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        if zensical is None:
            sys.exit("zensical is not installed; pip install '.[docs]'")
        done = subprocess.run([zensical, "build", "--strict"], cwd=stage, check=False)
        if done.returncode:
            sys.exit(done.returncode)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(stage / "site", target)
    print(f"built {target}")


def collect(stage: Path) -> None:
    """Put configuration and pages into `stage`."""
    shutil.copytree(DOCS, stage / "docs")
    (stage / "src").symlink_to(ROOT / "src")
    pages = {DOCS / page.relative_to(DOCS): page.relative_to(DOCS) for page in DOCS.rglob("*") if page.is_file()}
    pages |= {ROOT / source: Path(page) for source, page in ELSEWHERE.items()}
    for source, page in pages.items():
        if source.suffix == ".md":
            text = linked(source.read_text(), source, page, pages)
            (stage / "docs" / page).write_text(text)
    (stage / "docs" / "reference" / "commands.md").write_text(commands())
    decisions = sorted(path.relative_to(DOCS) for path in (DOCS / "decisions").glob("[0-9]*.md"))
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    next(part for part in settings["nav"] if "Decisions" in part)["Decisions"] += [str(path) for path in decisions]
    (stage / "mkdocs.yml").write_text(yaml.safe_dump(settings, sort_keys=False))


def linked(text: str, source: Path, page: Path, pages: dict[Path, Path]) -> str:
    """The text of `source` as it stands at `page`: links lead to pages; to files that are no page, only their name."""

    def link(match: re.Match[str]) -> str:
        label, name, anchor = match.groups()
        file = Path(os.path.normpath(source.parent / name))
        if ":" in name or not file.exists():
            return match.group()
        if file.is_dir():
            file = file / "README.md"
        if file not in pages:
            return label[1:-1]
        return f"{label}({os.path.relpath(pages[file], page.parent)}{anchor or ''})"

    return LINK.sub(link, text)


def commands() -> str:
    """All commands as a page, made of their help."""
    parts = [
        "# Commands",
        "`sharpbit COMMAND --help` prints what stands here. `sharpbit --version` prints the version.",
    ]
    with click.Context(app, info_name="sharpbit") as parent:
        parts.append(table_of(app, parent))
        for name in sorted(app.commands):
            command = app.commands[name]
            context = click.Context(command, info_name=name, parent=parent)
            usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
            parts += [f"## {name}", f"```text\n{usage}\n```", escaped(inspect.cleandoc(command.help or ""))]
            parts.append(table_of(command, context))
    return "\n\n".join(parts) + "\n"


def table_of(command: click.Command, context: click.Context) -> str:
    """The options of a command as a table."""
    records = [found for part in command.get_params(context) if (found := part.get_help_record(context))]
    rows = [f"| {code(option)} | {cell(text)} |" for option, text in records if text]
    return "\n".join(["| option | meaning |", "|---|---|", *rows])


def code(text: str) -> str:
    """Text of an option as code in a table."""
    return f"<code>{cell(text)}</code>"


def cell(text: str) -> str:
    """Text of a help as a cell of a table."""
    return " ".join(escaped(text).replace("|", "&#124;").split())


def escaped(text: str) -> str:
    """Text without what Markdown would take for marks."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([*_`\[\]])", r"\\\1", text)


if __name__ == "__main__":
    main()
