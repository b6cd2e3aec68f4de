"""The client of the Hugging Face Hub: downloads, and its errors as one sentence with a remedy."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..contract import message

TIMEOUT = 5.0
"""Seconds to wait for an answer of the hub."""

_TOKEN = "Pass token=, set HF_TOKEN, or run `hf auth login`"
_REACH = "Check the network connection, HF_HUB_OFFLINE and HF_ENDPOINT"
_ABSENT = "it must be in the cache, or the Hub must be reachable"
_CASES = {
    "OfflineModeIsEnabled": (_ABSENT, f"{_REACH}."),
    "LocalEntryNotFoundError": (_ABSENT, f"{_REACH}, and leave local_files_only= out."),
    "LocalTokenNotFoundError": ("token=True must find a stored token", f"{_TOKEN}."),
    "GatedRepoError": (
        "you must have access to this gated repository",
        f"Request access on its page. {_TOKEN}.",
    ),
    "RepositoryNotFoundError": (
        "the repository must exist, and you must be allowed to read it",
        f"Check the spelling of its name. {_TOKEN} if it is private.",
    ),
    "RevisionNotFoundError": (
        "revision must be a branch, a tag or a commit of the repository",
        "Check its spelling, or leave revision= out.",
    ),
    "EntryNotFoundError": (
        "the repository must contain the file of a model",
        "Pass a repository and a revision that push_to_hub wrote.",
    ),
}
"""Class of an error of the client -> requirement and remedy; the first that matches is used."""


def hub_client(op: str) -> Any:
    """Import huggingface_hub, which is slow. Raises: ImportError with the pip command."""
    try:
        import huggingface_hub  # noqa: PLC0415 - slow to import, rarely needed
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        text = f"{op} needs huggingface_hub, not installed here; pip install huggingface_hub."
        raise ImportError(text) from None
    return huggingface_hub


def download(
    op: str,
    repo_id: str,
    filename: str,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> str:
    """Return the path of a file in the cache, downloaded if it is absent or has changed.

    Raises: the errors of the client, within seconds if the hub does not answer.
    """
    hub = hub_client(op)
    file: dict[str, Any] = {"repo_id": repo_id, "filename": filename, "revision": revision}
    cached = hub.try_to_load_from_cache(**file, cache_dir=cache_dir)
    if not isinstance(cached, str) and not local_files_only:
        # fails at once, where a download is tried again for half a minute
        hub.get_hf_file_metadata(hub.hf_hub_url(**file), token=token, timeout=TIMEOUT)
    return hub.hf_hub_download(
        **file,
        cache_dir=cache_dir,
        token=token,
        local_files_only=local_files_only,
        force_download=force_download,
    )


def check_repository(op: str, repo_id: str) -> None:
    """Raise ValueError for what cannot be the name of a repository."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id  # noqa: PLC0415

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        remedy = "load(path) opens a file, and save(model, path) writes one."
        requirement = "repo_id must be the name of a repository, as 'user/birds'"
        raise ValueError(message(op, requirement, repr(repo_id), remedy)) from error


@contextmanager
def hub_errors(op: str) -> Iterator[None]:
    """Re-raise an error of the client in this block as an OSError: one sentence and a remedy."""
    try:
        yield
    except Exception as error:  # each version of the client and of its transport has its own
        requirement, remedy = _explain(error)
        text = " ".join(f"{error}".split())
        received = f"{type(error).__name__}: {text[:300]}".rstrip(".: ")
        raise OSError(message(op, requirement, received, remedy)) from error


def _explain(error: Exception) -> tuple[str, str]:
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    names = {base.__name__ for link in chain for base in type(link).__mro__}
    for name, case in _CASES.items():
        if name in names:
            return case
    responses = [r for link in chain if (r := getattr(link, "response", None)) is not None]
    if any(getattr(response, "status_code", None) in (401, 403) for response in responses):
        return "a token must allow this", f"{_TOKEN}, with a token that may do this."
    if responses or isinstance(error, ValueError):
        return "the Hub must accept the request", ""
    return "the Hub must be reachable", f"{_REACH}."
