"""All checks and jobs of the project: ``nox`` runs the checks, ``nox -s demo`` the demo.

Versions are those of constraints.txt. Sessions that need the frameworks share one environment,
``.nox/frameworks``, which is created again when pyproject.toml or constraints.txt changes. What
follows ``--`` replaces the arguments of the command of the session.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "parity", "conformance", "build", "lowest"]
nox.options.error_on_external_run = True
nox.options.stop_on_first_error = bool(os.environ.get("CI"))

# the tests start hundreds of processes: without bytecode each compiles its framework from source
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PROJECT = nox.project.load_toml("pyproject.toml")
FRAMEWORKS = ["torch", "tensorflow", "jax"]
CONSTRAINTS = "--constraint=constraints.txt"
PARALLEL = ("--numprocesses=2", "--dist=worksteal")
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
QUICK = {"BILINEAR_TEST_QUICK": "1"}
"""XLA, which compiles every operation for every shape, optimizes less: 3 times faster."""
SHARED = Path(".nox/frameworks").resolve()
SITE = Path("out/site")
GROUPS = ("test", "demo", "conformance", "types", "nox", "docs")
"""The dependency groups of the shared environment."""


def group(*names: str) -> list[str]:
    """The requirements of some of the project's dependency groups."""
    return [line for name in names for line in PROJECT["dependency-groups"][name]]


def install(session: nox.Session, extra: str, *groups: str) -> None:
    """Install the project, editable, with one of its extras and some dependency groups."""
    # bytecode is written when a module is first imported: most of a framework never is
    target = f".[{extra}]" if extra else "."
    session.install("--no-compile", CONSTRAINTS, "-e", target, *group(*groups))


def interpreter(environment: Path) -> Path:
    """The Python of a virtual environment."""
    return environment / ("Scripts" if os.name == "nt" else "bin") / "python"


def frameworks(session: nox.Session, *command: str, quick: bool = False) -> None:
    """Run a Python module in the environment with every framework; create it where needed."""
    python = interpreter(SHARED)
    installed = SHARED / "installed.txt"
    files = "pyproject.toml", "constraints.txt"
    wanted = "".join(Path(file).read_text(encoding="utf-8") for file in files)
    if not installed.is_file() or installed.read_text() != wanted:
        shutil.rmtree(SHARED, ignore_errors=True)
        session.run(sys.executable, "-m", "venv", str(SHARED), external=True)
        pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        target = ("--no-compile", CONSTRAINTS, "-e", ".[all,cli,retrieval]")
        session.run(*pip, *target, *group(*GROUPS), external=True)
        installed.write_text(wanted)
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    env = {**QUIET, **(QUICK if quick else {}), "PATH": path}
    session.run(str(python), "-m", *command, env=env, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Format and lint: ruff."""
    session.install(CONSTRAINTS, *group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Types: pyright, with every framework installed."""
    frameworks(session, "pyright", *session.posargs)


@nox.session(venv_backend="none")
def parity(session: nox.Session) -> None:
    """The tests: all frameworks against the reference and against each other, and what uses them.

    Tests that carry the marker ``full`` are left out; ``nox -s full`` runs them too.
    """
    arguments = session.posargs or [*PARALLEL, "--ratios=out/parity.json"]
    frameworks(session, "pytest", *arguments, quick="--full" not in arguments)


@nox.session(venv_backend="none")
def conformance(session: nox.Session) -> None:
    """The public test kit without the project's tests, for a backend outside this project."""
    kit = ("-p", "bilinear.testing.plugin", "examples/test_array_api.py")
    frameworks(session, "pytest", *PARALLEL, *kit, *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """The wheel: its content, and a smoke test of its installed form away from the source."""
    wheel = build_wheel(session)
    missing = contents(Path("bilinear")) ^ {
        name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("bilinear/")
    }
    if missing:
        session.error(f"the wheel and the source differ in {sorted(missing)}")
    session.install("--no-compile", CONSTRAINTS, f"{wheel}[cli,testing]")
    session.chdir(session.create_tmp())
    session.run("python", "-c", "import bilinear.reference, bilinear.testing, bilinear.train")
    session.run("bilinear", "--version")
    session.run("bilinear", "--help", silent=True)


@nox.session
def lowest(session: nox.Session) -> None:
    """A sample of the tests with the lowest versions that install in a minute: JAX and NumPy."""
    row = nox.project.load_toml("compat.toml")["jax-lowest"]
    session.install("--no-compile", *requirements(row))
    files = "layers/test_layers.py", "layers/test_contract.py", "operators", "train/test_engines.py"
    tests = [f"tests/{file}" for file in files]
    sample = "test_layers or test_contract or (test_edges and jax and float32) or test_resuming"
    options = ("--override-ini=filterwarnings=default", *PARALLEL)
    session.run("pytest", *options, *(session.posargs or [*tests, "-k", sample]))


@nox.session(venv_backend="none")
def full(session: nox.Session) -> None:
    """Every check there is, as for a nightly run or before a release."""
    everything = {name: [] for name in nox.options.sessions or ()}
    parity = ("--full", *PARALLEL, "--ratios=out/parity.json")
    everything["parity"] = [*parity, "--ignore=tests/docs/test_deployment.py"]
    everything |= {"reference": [], "wheel": [], "deployment": []}
    everything |= {"faults": ["--full"], "docs": []}
    everything |= {f"namespaces(framework={name!r})": [] for name in FRAMEWORKS}
    for name, arguments in everything.items():
        session.notify(name, arguments)


@nox.session(venv_backend="none")
def compat(session: nox.Session) -> None:
    """The lowest and newest versions of compat.toml; those named after ``--``, or all.

    Each environment (up to 8 GB) is deleted after its tests. Results are collected in
    out/compat.json, and the table in docs/versions.md is written from them.
    """
    table = {k: v for k, v in nox.project.load_toml("compat.toml").items() if k != "tests"}
    tests = nox.project.load_toml("compat.toml")["tests"]
    results_file = Path("out/compat.json").resolve()
    results_file.parent.mkdir(exist_ok=True)
    results = json.loads(results_file.read_text()) if results_file.is_file() else {}
    shown = ("torch", "tensorflow", "keras", "jax", "flax", "numpy", "ml_dtypes", "scipy", "pillow")
    for name in session.posargs or table:
        row = table[name]
        pattern = f".pyenv/versions/{row['python']}.*/bin/python"
        found = shutil.which(f"python{row['python']}"), *sorted(Path.home().glob(pattern))
        results[name] = {"python": row["python"], "versions": {}, "outcome": "not run: no Python"}
        for candidate in filter(None, found):
            if subprocess.run([candidate, "-c", ""], check=False, capture_output=True).returncode:
                continue  # a launcher of pyenv without that version
            folder = Path(f".nox/compat-{name}").resolve()
            shutil.rmtree(folder, ignore_errors=True)
            session.run(str(candidate), "-m", "venv", str(folder), external=True)
            python = str(interpreter(folder))
            pip = (python, "-m", "pip", "install", "--quiet", "--no-compile")
            # Inductor of PyTorch 2.6 imports setuptools without requiring it
            session.run(*pip, *requirements(row), "setuptools", external=True)
            report = Path(f"out/compat-{name}.xml").resolve()
            report.unlink(missing_ok=True)
            # what a version deprecates is not an error of this project
            options = ("--override-ini=filterwarnings=default", f"--junitxml={report}")
            command = (
                python,
                "-m",
                "pytest",
                "-q",
                *options,
                *PARALLEL,
                *tests["files"],
                "-k",
                tests["names"],
            )
            session.run(*command, env=QUIET, external=True, success_codes=[0, 1, 2, 3, 4, 5])
            listed = session.run(
                *(python, "-m", "pip", "list", "--format=json"), external=True, silent=True
            )
            installed = {
                line["name"].replace("-", "_").lower(): line["version"]
                for line in json.loads(str(listed))
            }
            results[name]["versions"] = {k: installed[k] for k in shown if k in installed}
            if report.is_file():
                (suite,) = ElementTree.parse(report).getroot()
                count = {
                    k: int(suite.attrib[k]) for k in ("tests", "skipped", "failures", "errors")
                }
                failed = count["failures"] + count["errors"]
                passed = count["tests"] - failed - count["skipped"]
                results[name]["outcome"] = f"{passed} passed, {failed} failed"
            else:
                results[name]["outcome"] = "not run: pytest did not start"
            shutil.rmtree(folder)
            break
        if results_file.is_file():  # another run may have written meanwhile
            results = {**json.loads(results_file.read_text()), name: results[name]}
        results_file.write_text(json.dumps(results, indent=1))
        session.log(f"{name}: {results[name]['outcome']}")
        write_versions(table, results)
    bad = [k for k in session.posargs or table if not results[k]["outcome"].endswith(" 0 failed")]
    if bad:
        session.error(f"failed or not run: {', '.join(bad)}")


def write_versions(table: dict[str, Any], results: dict[str, Any]) -> None:
    """Replace the table of docs/versions.md; rows without results stay."""
    page = Path("docs/versions.md")
    head, _, rows = page.read_text(encoding="utf-8").partition("| environment |")
    lines = ["| environment | Python | versions | tests |", "| --- | --- | --- | --- |"]
    for key in table:
        if key not in results:
            lines += [row for row in rows.splitlines() if row.startswith(f"| {key} |")]
            continue
        versions = ", ".join(f"{k} {v}" for k, v in results[key]["versions"].items())
        lines.append(f"| {key} | {table[key]['python']} | {versions} | {results[key]['outcome']} |")
    page.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


def requirements(row: dict[str, Any]) -> list[str]:
    """What an environment of compat.toml installs: the lowest or the newest versions."""
    lines = [*PROJECT["project"]["dependencies"]]
    lines += [*PROJECT["project"]["optional-dependencies"][row["framework"]], *group("test")]
    lines = [line.replace(">=", "==") if row["versions"] == "lowest" else line for line in lines]
    pins = row.get("pins", [])
    pinned = {pin.partition("==")[0] for pin in pins}
    return [line for line in lines if re.split("[=>]=", line)[0] not in pinned] + pins


@nox.session
def reference(session: nox.Session) -> None:
    """The specification and the framework-free parts, with NumPy and no framework."""
    install(session, "", "test")
    session.run("pytest", "--full", *(session.posargs or PARALLEL))


@nox.session
@nox.parametrize("framework", FRAMEWORKS)
def namespaces(session: nox.Session, framework: str) -> None:
    """One namespace alone, in an environment that has only its framework."""
    install(session, framework, "test")
    alone = ["docs/test_namespaces", "layers/test_contract", "layers/test_layers"]
    alone += ["models/test_own_networks", "docs/test_readme", "cli/test_cli", "cli/test_cli_errors"]
    alone += ["cli/test_cli_streams", "cli/test_cli_processes"]
    chosen = [f"tests/{name}.py" for name in alone]
    chosen += ["tests/models/test_pooled_models.py::test_momentum_is_read_by_every_framework"]
    chosen += ["tests/models/test_files.py::test_load_image_gives_the_input_of_a_model"]
    session.run("pytest", "--full", *(session.posargs or chosen), env=QUIET)


@nox.session
def wheel(session: nox.Session) -> None:
    """The installed wheel with PyTorch, tested away from the source."""
    session.install("--no-compile", CONSTRAINTS, f"{build_wheel(session)}[torch]", *group("test"))
    away = Path(session.create_tmp()) / "away"
    shutil.rmtree(away, ignore_errors=True)
    shutil.copytree("tests", away / "tests")
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(file, away)
    session.chdir(away)
    tests = ["meta/test_layout", "docs/test_namespaces", "docs/test_readme"]
    tests += ["layers/test_layers", "models/test_checkpoint"]
    chosen = session.posargs or [f"tests/{name}.py" for name in tests]
    session.run("pytest", "--full", *chosen)


@nox.session
def deployment(session: nox.Session) -> None:
    """Every format for deployment, with the packages that write and run it: no test is skipped."""
    install(session, "all,onnx,litert", "test", "deployment")
    # it excludes newer versions of packages that it does not import
    session.install("--no-compile", "--no-deps", CONSTRAINTS, "jax2onnx")
    names = ("docs/test_deployment", "models/test_export", "layers/test_torch_export")
    tests = ("--no-skips", "-k", "not torchvision", *(f"tests/{name}.py" for name in names))
    session.run("pytest", "--full", *(session.posargs or tests), env=QUIET)


@nox.session(venv_backend="none")
def faults(session: nox.Session) -> None:
    """The suite, tested: every planted fault must turn it red."""
    frameworks(session, "tests.faults", *session.posargs, quick=True)


@nox.session
def vectors(session: nox.Session) -> None:
    """Golden vectors, for implementations in other languages."""
    install(session, "testing")
    session.run("python", "-m", "bilinear.testing.vectors", "out/vectors.safetensors")


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """What the operators cost, in ratios to the published formula and to its bare products."""
    frameworks(session, "benchmarks", *session.posargs)


@nox.session(venv_backend="none")
def textures(session: nox.Session) -> None:
    """Pooling layers on textures with equal effort, chosen on validation crops."""
    frameworks(session, "benchmarks.textures", *session.posargs)


@nox.session
def frozen(session: nox.Session) -> None:
    """Pooling layers on feature maps of a network trained on ImageNet, with linear SVMs."""
    install(session, "torch,svm", "frozen")
    session.run("python", "-m", "benchmarks.frozen", *session.posargs)


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """Train a bilinear CNN on photographs, then open it in every framework."""
    frameworks(session, "examples.demo", *session.posargs)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The documentation site in out/site; every warning, as of a link to nothing, is an error.

    If Chromium or Chrome is installed, it opens every page.
    """
    for generated in (SITE, *Path("docs/api").glob("*.rst")):
        shutil.rmtree(generated) if generated.is_dir() else generated.unlink(missing_ok=True)
    options = ("--fail-on-warning", "--fresh-env", *session.posargs)
    frameworks(session, "sphinx", *options, "docs", str(SITE))
    frameworks(session, "pytest", "--full", "tests/docs/test_site.py", "tests/docs/test_browser.py")


OPENED = {
    "torch": "bilinear.torch",
    "tensorflow": "bilinear.tensorflow",
    "jax": "bilinear.jax",
    "keras": "bilinear",  # Keras needs one of the frameworks, too
    "all": "bilinear.torch, bilinear.tensorflow, bilinear.jax",
    "hdf5": "bilinear.data, h5py",
    "svm": "bilinear.analysis.linear_svm, sklearn.svm",
    "retrieval": "bilinear.analysis.search, faiss, sklearn.decomposition",
    "onnx": "bilinear.torch, onnx, onnxscript, onnxruntime",
    "litert": "bilinear.tensorflow, ai_edge_litert.interpreter",
    "cli": "bilinear.cli",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "testing": "bilinear.testing",
}
"""What each extra makes importable."""


@nox.session
def release(session: nox.Session) -> None:
    """The files of a release, in out/release, and each extra in an environment of its own.

    The sdist and the wheel are built twice and must be equal. The tag after ``--``, if any, must be
    that of the version.
    """
    folder = Path("out/release").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    session.install(CONSTRAINTS, *group("build", "release"))
    time = session.run("git", "log", "-1", "--format=%ct", external=True, silent=True)
    for name in ("dist", "again"):
        command = ("python", "-m", "build", "--outdir", str(folder / name))
        session.run(*command, env={"SOURCE_DATE_EPOCH": str(time).strip()}, silent=True)
    files, again = sorted((folder / "dist").iterdir()), folder / "again"
    if different := [f.name for f in files if f.read_bytes() != (again / f.name).read_bytes()]:
        session.error(f"built twice, these files differ: {', '.join(different)}")
    shutil.rmtree(again)
    session.run("twine", "check", "--strict", *map(str, files))
    (wheel,) = (f for f in files if f.suffix == ".whl")
    tag = f"v{wheel.name.split('-')[1]}"
    if session.posargs not in ([], [tag]):
        session.error(f"the tag must be {tag}; got {' '.join(session.posargs)}")
    if f"\nversion: {tag[1:]}\n" not in Path("CITATION.cff").read_text(encoding="utf-8"):
        session.error(f"CITATION.cff must have the version {tag[1:]}")
    for extra in PROJECT["project"]["optional-dependencies"]:
        environment = Path(session.create_tmp()) / extra
        shutil.rmtree(environment, ignore_errors=True)
        session.run(sys.executable, "-m", "venv", str(environment), external=True)
        python = str(interpreter(environment))
        pip = (python, "-m", "pip", "install", "--quiet", "--no-compile", CONSTRAINTS)
        session.run(*pip, f"{wheel}[{extra}]", external=True)
        session.run(python, "-P", "-c", f"import {OPENED[extra]}", env=QUIET, external=True)
        if extra == "all":
            bom = ("cyclonedx-py", "environment", python, "--pyproject", "pyproject.toml")
            session.run(*bom, "--output-file", str(folder / "bilinear.cdx.json"))
        shutil.rmtree(environment)


def build_wheel(session: nox.Session) -> Path:
    """Build the wheel and return its path."""
    session.install(CONSTRAINTS, *group("build"))
    folder = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(folder), silent=True)
    (path,) = folder.glob("*.whl")
    return path


def contents(package: Path) -> set[str]:
    """The files of a package that a wheel must have, as they are named in it."""
    files = {*package.rglob("*.py"), package / "py.typed"}
    return {path.as_posix() for path in files}
