"""Sends the folder of a run to a model repository of the Hub.

    repo_id = check_can_publish("ncr-openmoji")  # before hours of training
    ...
    write_model_card(folder, results, name=repo_id)
    publish_folder(folder, repo_id)

What goes there is what a reader needs: model, processor, card, results, pictures. Checkpoints,
optimizer states, the Trainer's own notes and anything pickled stay here.
"""

import json
import re
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError

#: Files of the folder itself that are published.
_TOP = re.compile(
    r"model(-\d+-of-\d+)?\.safetensors|noisy_xmodal_shim\.py|LICENSE|NOTICE|.+\.(json|txt|md|png"
    r"|jinja|model)"
)
#: What of it stays here: the Trainer's options, which name paths of this machine, and its state.
_PRIVATE = re.compile(r"\..*|training_args\.json|trainer_state\.json|(optimizer|scheduler|rng_).*")
#: Folders inside it that are published, and what of them.
_INSIDE = {"divisions": re.compile(r".+\.(json|png)"), ".eval_results": re.compile(r".+\.yaml")}

#: What an earlier upload may have left in the repository, and would be read or shown along.
_STALE = re.compile(
    r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|noisy_xmodal_shim\.py"
    r"|divisions/[^/]+|\.eval_results/noisy_xmodal\.yaml"
)


class PublishError(ValueError):
    """A folder, a card or an account that nothing can be published with."""


def check_can_publish(repo_id: str, token: str | None = None, private: bool | None = None) -> str:
    """Refuse to work for long on what cannot be sent.

    The repository is made if it is not there yet, as the Trainer does with `push_to_hub`: only that
    tells for sure.

    Args:
        repo_id: "name" or "organisation/name".
        token: An access token; the one that you are logged in with by default.
        private: Make it private, where it is new.

    Returns:
        The repository's whole name, "user/name".

    Raises:
        PublishError: If nobody is logged in, the name is none, the Hub cannot be reached, or the
            account may not write there.
    """
    api = HfApi(token=token)
    try:
        user = api.whoami()["name"]
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        raise PublishError(
            f"The Hub does not know you ({type(error).__name__}). Log in with `hf auth login`, or "
            "set HF_TOKEN."
        ) from error
    except (OSError, HTTPError) as error:
        raise PublishError(f"The Hub cannot be asked who you are: {error}") from error
    try:
        return api.create_repo(repo_id, private=private).repo_id
    except HfHubHTTPError as error:
        status = error.response.status_code
        whole = repo_id if "/" in repo_id else f"{user}/{repo_id}"
        if status == 409 or (status in (401, 402, 403) and _may_write(api, whole)):
            return whole  # it is there
        raise PublishError(
            f"{user} may not write to {whole}: {error}. Give a repository of {user} or of an "
            "organisation that lets you write, and a token with write access."
        ) from error
    except (OSError, HTTPError, ValueError) as error:
        raise PublishError(f"{repo_id} cannot be made on the Hub: {error}") from error


def _may_write(api: HfApi, repo_id: str) -> bool:
    """Whether a repository is there, and the token is for writing to it, if not for making one."""
    try:
        api.auth_check(repo_id, write=True)
    except (OSError, HTTPError):
        return False
    return True


def publish_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Upload model",
) -> str:
    """Send a run's folder to a model repository, in one commit.

    Weights, divisions and shim of an earlier upload that are no more in the folder are deleted
    there; other files of the repository stay.

    Args:
        folder: The folder: config.json, model.safetensors and README.md at least. Write the card
            under the name of the repository first, see `write_model_card`.
        repo_id: "name" or "organisation/name"; made where it does not exist.
        private: Make it private, where it is new.
        token: An access token; the one that you are logged in with by default.
        revision: The branch to write to, made where it does not exist; main by default.
        commit_message: What the commit says.

    Returns:
        The address of the repository.

    Raises:
        PublishError: If the folder lacks a file, the card is no valid one, a file holds the access
            token, or the account may not write there.
    """
    folder = Path(folder)
    paths = files_to_publish(folder)
    _check_card(folder / "README.md")
    _check_secrets(folder, paths, token)
    api = HfApi(token=token)
    repo_id = check_can_publish(repo_id, token, private)
    if revision not in (None, "main") and not str(revision).startswith("refs/"):
        api.create_branch(repo_id, branch=str(revision), exist_ok=True)
    there = api.list_repo_files(repo_id, revision=revision)
    stale = [path for path in there if _STALE.fullmatch(path) and path not in paths]
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(path, folder / path) for path in paths),
        *(CommitOperationDelete(path) for path in stale),
    ]
    api.create_commit(repo_id, operations, commit_message=commit_message, revision=revision)
    return f"{api.endpoint}/{repo_id}"


def files_to_publish(folder: str | Path) -> list[str]:
    """What of a folder is published.

    Args:
        folder: The folder of a run.

    Returns:
        Paths inside the folder, sorted.

    Raises:
        PublishError: If config.json, the weights or README.md are not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PublishError(f"{folder} is no folder.")
    found = [
        path.name
        for path in folder.iterdir()
        if path.is_file() and _TOP.fullmatch(path.name) and not _PRIVATE.fullmatch(path.name)
    ]
    for inside, names in _INSIDE.items():
        for path in folder.glob(f"{inside}/*"):
            if path.is_file() and names.fullmatch(path.name) and not path.name.startswith("."):
                found.append(f"{inside}/{path.name}")
    missing = sorted({"config.json", "README.md", *_weights(folder)} - set(found))
    if missing:
        raise PublishError(
            f"{folder} lacks {', '.join(missing)}: give the folder that a training script wrote, "
            "or save the model (`save_pretrained`) and its card (`write_model_card`) there."
        )
    return sorted(found)


def _weights(folder: Path) -> set[str]:
    """The files of the weights that have to be there."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return {"model.safetensors"}
    return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())


def _check_card(path: Path) -> None:
    """Ask the Hub about the card's metadata; a Hub that cannot be asked is no objection."""
    try:
        ModelCard.load(path).validate()
    except ValueError as error:
        raise PublishError(f"{path} is no valid model card: {error}") from error
    except (OSError, HTTPError):
        return


def _check_secrets(folder: Path, paths: list[str], token: str | None) -> None:
    """Refuse to publish the access token, which a noted command line may hold."""
    secret = token or get_token()
    for path in paths:
        text = path.endswith((".json", ".md", ".yaml"))
        if text and secret and secret in (folder / path).read_text(encoding="utf-8"):
            raise PublishError(f"{folder / path} holds your access token: take it out first.")
