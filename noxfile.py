"""Every check and every job of the project: ``nox`` runs the checks, ``nox -s demo`` the demo.

Each session makes its own environment with the versions of constraints.txt; ``nox -R`` uses the
environments of the last run again. What follows ``--`` goes to the command of the session.
"""

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "reference", "conformance", "parity", "doors", "build"]
nox.options.error_on_external_run = True

PROJECT = nox.project.load_toml("pyproject.toml")
FRAMEWORKS = ["torch", "tensorflow", "jax"]
CONSTRAINTS = "--constraint=constraints.txt"
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def group(name: str) -> list[str]:
    """The requirements of one of the project's dependency groups."""
    return PROJECT["dependency-groups"][name]


def install(session: nox.Session, extra: str, *groups: str) -> None:
    """The project, editable, with one of its extras and some dependency groups."""
    requirements = [requirement for name in groups for requirement in group(name)]
    if os.environ.get("CI"):
        # a session is run once there, and the environments of all take 13 GB together
        for environment in Path(session.virtualenv.location).parent.iterdir():
            if environment.is_dir() and environment != Path(session.virtualenv.location):
                shutil.rmtree(environment)
    # bytecode is written when a module is first imported: most of a framework never is
    target = f".[{extra}]" if extra else "."
    session.install("--no-compile", CONSTRAINTS, "-e", target, *requirements)


@nox.session
def lint(session: nox.Session) -> None:
    """Format and lint: ruff."""
    session.install(CONSTRAINTS, *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types: pyright, with every framework installed."""
    install(session, "all,cli", "test", "types", "demo", "bench", "nox", "conformance")
    session.run("pyright", *session.posargs)


@nox.session
def reference(session: nox.Session) -> None:
    """The specification and the framework-free parts, with NumPy and no framework."""
    install(session, "", "test")
    session.run("pytest", *session.posargs)


@nox.session
def parity(session: nox.Session) -> None:
    """The proof: all three frameworks against the reference and against each other."""
    install(session, "all,cli", "test", "parity")
    if session.posargs:
        session.run("pytest", *session.posargs, env=QUIET)
        return
    session.run("python", "-m", "tests.mutants", "--sample", env=QUIET)
    workers = ("--numprocesses=2", "--dist=worksteal")
    session.run("pytest", *workers, "--ratios=out/parity.json", env=QUIET)


@nox.session
def conformance(session: nox.Session) -> None:
    """The public kit alone: certify a backend that is not ours."""
    install(session, "testing", "conformance")
    command = ("pytest", "-p", "bilinear.testing.plugin", "examples/test_array_api.py")
    session.run(*command, *session.posargs)


@nox.session
def vectors(session: nox.Session) -> None:
    """Golden vectors, for implementations in other languages."""
    install(session, "testing")
    session.run("python", "-m", "bilinear.testing.vectors", "out/vectors.safetensors")


@nox.session
def mutants(session: nox.Session) -> None:
    """The suite, tested: every planted fault must turn it red."""
    install(session, "all,cli", "test", "parity")
    session.run("python", "-m", "tests.mutants", *session.posargs, env=QUIET)


@nox.session
@nox.parametrize("framework", FRAMEWORKS)
def doors(session: nox.Session, framework: str) -> None:
    """One door alone, in an environment that has only its framework."""
    install(session, framework, "test")
    alone = ["docs/test_doors", "layers/test_contract", "layers/test_layers"]
    alone += ["models/test_own_networks", "docs/test_readme", "cli/test_cli", "cli/test_cli_errors"]
    chosen = [f"tests/{name}.py" for name in alone]
    chosen += ["tests/models/test_files.py::test_momentum_travels"]
    chosen += ["tests/models/test_files.py::test_an_image_file_is_what_the_opened_model_takes"]
    session.run("pytest", *(session.posargs or chosen), env=QUIET)


@nox.session
def build(session: nox.Session) -> None:
    """The wheel, built, and its installed form tested away from the source."""
    session.install(CONSTRAINTS, *group("build"), *group("test"))
    folder = Path(session.create_tmp())
    shutil.rmtree(folder / "dist", ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(folder / "dist"), silent=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    session.install("--no-compile", CONSTRAINTS, f"{wheel}[torch]")
    away = folder / "away"
    shutil.rmtree(away, ignore_errors=True)
    shutil.copytree("tests", away / "tests")
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(file, away)
    session.chdir(away)
    session.run("bilinear", "--version")
    tests = ["meta/test_house", "docs/test_doors", "layers/test_layers", "models/test_checkpoint"]
    tests += ["docs/test_readme"]
    session.run("pytest", *(session.posargs or [f"tests/{name}.py" for name in tests]))


@nox.session
def bench(session: nox.Session) -> None:
    """What the operators cost, in ratios to the published formula and to its bare products."""
    install(session, "all", "bench")
    session.run("python", "-m", "benchmarks", *session.posargs, env=QUIET)


@nox.session
def textures(session: nox.Session) -> None:
    """The recipes on real pictures: accuracies in every framework, with intervals."""
    install(session, "all,cli", "demo")
    session.run("python", "-m", "benchmarks.textures", *session.posargs, env=QUIET)


@nox.session
def demo(session: nox.Session) -> None:
    """Train a bilinear CNN on photographs, then open it in every framework."""
    install(session, "all", "demo")
    session.run("python", "-m", "examples.demo", *session.posargs, env=QUIET)


if os.environ.get("CI"):
    nox.options.stop_on_first_error = True
