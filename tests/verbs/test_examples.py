"""The examples in the docstrings of the making functions run and print what they say."""

import doctest

import pytest

from sharpbit import model
from sharpbit.verbs import inspect, quantize

FUNCTIONS = [model.build, model.load, model.save, model.reparameterize, quantize.quantize, inspect.inspect]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_the_example_runs(function):
    (example,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__, globs={})
    assert example.examples
    runner = doctest.DocTestRunner(verbose=False)
    output = []
    runner.run(example, out=output.append)
    assert not runner.failures, "".join(output)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_the_docstring_is_whole(function):
    text = function.__doc__
    assert all(part in text for part in ("Args:", "Raises:", "Examples:"))
