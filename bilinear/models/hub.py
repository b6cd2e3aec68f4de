"""`push_to_hub` and `from_pretrained`: the portable file on the Hugging Face Hub."""

import os
import tempfile
from collections.abc import Sequence
from typing import Any, Generic

from ..contract import check_argument, refuse
from ..contract.arguments import SHARE
from ..data.images import Preprocessing
from .hub_client import check_repository, download, hub_client, hub_errors
from .model_card import model_card
from .portable import Files, Model, Tensor
from .summary import summarize

FILE = "model.safetensors"
"""Name of the portable file in a repository."""
CARD = "README.md"


class Hub(Generic[Model, Tensor]):
    """The functions of one namespace, given those for files, that use the Hub."""

    def __init__(self, files: Files[Model, Tensor]) -> None:
        self._files = files

    def push_to_hub(
        self,
        model: Model,
        repo_id: str,
        *,
        classes: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
        name: str | tuple[str, str] | None = None,
        accuracy: float | None = None,
        dataset: str | None = None,
        license: str | None = None,
        replace_card: bool = False,
        commit_message: str = "Upload a model of bilinear",
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> str:
        """Upload `model` to the Hugging Face Hub, where every namespace can open it.

        One commit writes the portable file ``model.safetensors`` and a model card ``README.md``,
        which states the classes, the preprocessing, the pooling, the backbone, and how to load
        the model in each framework.

        Args:
            model: a `BCNN` as in `save`.
            repo_id: name of the repository, ``"user/birds"``. It is created if it does not exist.
            classes: as in `save`.
            preprocessing: as in `save`.
            name: as in `save`.
            accuracy: for the model card: fraction of correct predictions, from 0 to 1.
            dataset: for the model card: name of the data on which `accuracy` was measured.
            license: for the model card: identifier of the model's license on the Hub, for example
                ``"apache-2.0"``.
            replace_card: replace the model card of the repository; by default, a card that exists
                stays as it is.
            commit_message: first line of the message of the commit.
            private: whether a new repository is private; None takes the default of the account.
            token: access token with write permission; None takes the one of ``hf auth login`` or
                ``HF_TOKEN``.
            revision: branch to write to, which is created if it does not exist; None takes
                ``main``.
            create_pr: open a pull request from the commit, for a repository of somebody else.

        Returns: the address of the commit; with `create_pr`, of the pull request.

        Raises: as `save`, before anything is uploaded; ValueError for an invalid `repo_id` or
            `accuracy`; OSError if the Hub refuses the upload or cannot be reached; ImportError
            without huggingface_hub.
        """
        op = f"push_to_hub {repo_id}"
        hub = hub_client(op)
        check_repository(op, repo_id)
        if accuracy is not None:
            check_argument(op, "accuracy", accuracy, SHARE)
        elif dataset is not None:
            remedy = "Pass both, or none."
            refuse(ValueError, op, "dataset= must come with accuracy=", repr(dataset), remedy)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, FILE)
            self._files.save(model, path, classes=classes, preprocessing=preprocessing, name=name)
            summary = summarize(path)
            with hub_errors(op):
                api = hub.HfApi(token=token)
                visible = {} if private is None else {"private": private}
                repo_id = api.create_repo(repo_id, exist_ok=True, **visible).repo_id
                if revision is not None and not create_pr:
                    api.create_branch(repo_id, branch=revision, exist_ok=True)
                files: dict[str, Any] = {FILE: path}
                if replace_card or not api.file_exists(repo_id, CARD, revision=revision):
                    text = model_card(
                        repo_id, summary, accuracy=accuracy, dataset=dataset, license=license
                    )
                    files[CARD] = text.encode()
                commit = api.create_commit(
                    repo_id,
                    [hub.CommitOperationAdd(target, source) for target, source in files.items()],
                    commit_message=commit_message,
                    revision=revision,
                    create_pr=create_pr,
                )
        return commit.pr_url if create_pr else commit.commit_url

    def from_pretrained(
        self,
        repo_id: str,
        *,
        num_classes: int | None = None,
        backbone: Any = None,
        backbone_b: Any = None,
        allow_import: bool = False,
        revision: str | None = None,
        cache_dir: str | os.PathLike | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> Model:
        """Open a model that `push_to_hub` of any namespace wrote, in evaluation mode.

        The file is downloaded once, and opened by `load`, which checks it: the Hub is not trusted.
        Without a network connection, or with the environment variable ``HF_HUB_OFFLINE=1``, the
        file in the cache is opened.

        Args:
            repo_id: name of the repository, ``"user/birds"``.
            num_classes: as in `load`: a new classifier for this many classes.
            backbone: as in `load`.
            backbone_b: as in `load`.
            allow_import: as in `load`.
            revision: branch, tag or commit; None takes ``main``. A commit always gives the same
                model.
            cache_dir: folder of downloaded files; None takes that of huggingface_hub.
            token: access token for private repositories; None takes the one of ``hf auth login``
                or ``HF_TOKEN``, and False none.
            local_files_only: open the file in the cache, without a request.
            force_download: download the file even if it is in the cache.

        Returns: the `BCNN`.

        Raises: as `load`; ValueError for an invalid `repo_id`; OSError if the file can neither be
            downloaded nor is in the cache; ImportError without huggingface_hub.
        """
        op = f"from_pretrained {repo_id}"
        hub_client(op)
        check_repository(op, repo_id)
        with hub_errors(op):
            path = download(
                op,
                repo_id,
                FILE,
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                local_files_only=local_files_only,
                force_download=force_download,
            )
        return self._files.load(
            path,
            num_classes=num_classes,
            backbone=backbone,
            backbone_b=backbone_b,
            allow_import=allow_import,
        )
