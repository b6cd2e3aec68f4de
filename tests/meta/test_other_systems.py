"""What only Unix has is absent, as on Windows: the parts without a framework still work."""

import subprocess
import sys
from pathlib import Path

from ..datasets import cub

ABSENT = """
import os, signal, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
for module, names in {
    os: ("O_NONBLOCK", "O_NOCTTY", "O_DIRECTORY", "fork", "mkfifo", "getuid", "geteuid", "killpg",
         "sched_getaffinity", "fchmod"),
    signal: ("SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "pthread_sigmask", "setitimer"),
}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""
LIBRARY = """
from pathlib import Path
from bilinear import analysis, data, reference, train
from bilinear.__main__ import main
from bilinear.data.images import Preprocessing
from bilinear._files import read_regular, write_text
from bilinear.train.locks import exclusive_lock, folder_lock

root, out = map(Path, sys.argv[1:])
index, preprocessing = data.open_dataset(root, check_counts=False), Preprocessing(8)
with data.Pipeline(index, batch_size=2, preprocessing=preprocessing) as pipeline:
    (batch,) = pipeline.epoch(0)
assert batch.images.shape == (2, 8, 8, 3)
write_text(out / "text", "ü")
assert read_regular(out / "text").decode("utf-8") == "ü"
with exclusive_lock(out / "lock") as check, folder_lock(out):
    check()
assert train.named_recipe("bcnn-two-phase").to_json()
sys.argv = ["bilinear", "--version"]
sys.exit(main())
"""


def test_the_library_without_what_only_unix_has(tmp_path: Path) -> None:
    """Text has an explicit encoding too, because the default of Windows is not UTF-8."""
    root = cub(tmp_path / "data")
    command = [sys.executable, "-X", "warn_default_encoding", "-W", "error::EncodingWarning"]
    command += ["-c", ABSENT + LIBRARY, str(root), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert result.returncode == 0, result.stderr
