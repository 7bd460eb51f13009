"""One module writes SVG and one Markdown tables; what they write is well formed."""

from pathlib import Path
from xml.etree import ElementTree

from sharpbit.report import svg
from sharpbit.report.markdown import table

ROOT = Path(__file__).parents[1]


def test_a_drawing_is_well_formed_and_escapes_texts():
    parts = [
        svg.text(1, 2.25, "a < b & c", font_size=9),
        svg.group([svg.rect(0, 0, 3, 4, fill="#fff")], 5, 6),
        svg.polyline([(0, 0), (1, 2)], stroke="red"),
        svg.path("M0 0H1", stroke_width=None),
    ]
    root = ElementTree.fromstring(svg.drawing(20, 10, parts, size=8))
    assert (root.get("viewBox"), root.get("font-size")) == ("0 0 20 10", "8")
    _, text, group, line, path = root
    assert (text.text, text.get("y"), text.get("font-size")) == ("a < b & c", "2.2", "9")
    assert group[0].get("fill") == "#fff"
    assert (line.get("points"), line.get("fill")) == ("0.0,0.0 1.0,2.0", "none")
    assert path.get("stroke-width") is None


def test_a_table_aligns_its_columns():
    assert table(["a", "b", "c"], [["1", "2", "3"]], "lr") == ["| a | b | c |", "|---|---:|---|", "| 1 | 2 | 3 |"]


def test_nobody_else_writes_svg_heads_or_rules_of_tables():
    source = ROOT / "src" / "sharpbit"
    files = [path for path in source.rglob("*.py") if path.parent.name != "report" or path.stem == "receipt"]
    files += [*(ROOT / "bench").glob("*.py"), *(ROOT / "evidence").rglob("*.py")]
    assert not [path for path in files if "xmlns=" in path.read_text()]
    assert not [path for path in files if "|---" in path.read_text() and source in path.parents]
