"""The fixture that runs a command."""

from collections.abc import Callable

import pytest


@pytest.fixture
def command(capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Return a function that runs a command, checks its exit code and returns stdout.

    If the code is 2 or more, stdout must be empty, and the error, a line of stderr, is returned.
    """
    from bilinear.cli import run  # noqa: PLC0415 - typer may be absent

    def call(*arguments: object, code: int = 0) -> str:
        found = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert found == code, captured.err
        if code < 2:
            return captured.out
        assert captured.out == ""
        assert "Traceback" not in captured.err
        last = captured.err.splitlines()[-1]
        assert last.startswith("bilinear: ")
        return last

    return call
