"""The runner of evidence lists every script with a line on it, and names what does not exist."""

from loaded_script import ROOT, script


def test_every_script_is_listed(capsys):
    run = script("run")
    assert run.main([]) == 0
    out = capsys.readouterr().out
    for path in (ROOT / "evidence").glob("*.py"):
        assert path.stem == "run" or path.stem.startswith("_") or f"\n{path.stem} " in out
    assert all(len(text) > 20 for text in run.names().values())


def test_a_name_that_is_none(capsys):
    assert script("run").main(["nothing"]) == 2
    assert "'nothing'" in capsys.readouterr().err


def test_a_script_runs(capsys):
    run = script("run")
    try:
        run.main(["bitops_tables", "--help"])
    except SystemExit as end:
        assert not end.code
    assert "usage: bitops_tables.py" in capsys.readouterr().out
