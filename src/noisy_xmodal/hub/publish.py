"""Upload the folder of a run to a model repository of the Hub.

    repo_id = check_can_publish("ncr-openmoji")  # before hours of training
    ...
    write_model_card(folder, results, name=repo_id)
    publish_folder(folder, repo_id)

The upload includes model, processor, card, results and figures. Checkpoints, optimizer states, the
state of the Trainer and pickled files are excluded.
"""

import json
from pathlib import Path

from huggingface_hub import HfApi, ModelCard, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError

#: Published files.
_PUBLISHED = (
    *("model*.safetensors", "noisy_xmodal_shim.py", "LICENSE", "NOTICE"),
    *("*.json", "*.txt", "*.md", "*.png", "*.jinja", "*.model"),
    *("divisions/*.json", "divisions/*.png", ".eval_results/*.yaml"),
)
#: Exceptions: the Trainer's options, which contain local paths, and its state.
_PRIVATE = ("training_args.json", "trainer_state.json")
#: Files of an earlier upload that are deleted if the folder no longer has them.
_STALE = (
    *("model*.safetensors", "model.safetensors.index.json", "noisy_xmodal_shim.py"),
    *("divisions/*", ".eval_results/noisy_xmodal.yaml"),
)


class PublishError(ValueError):
    """The folder, the card or the account does not allow publishing."""


def check_can_publish(repo_id: str, token: str | None = None, private: bool | None = None) -> str:
    """Check before any long work that a repository is writable.

    The repository is created if it does not exist, as the Trainer does with `push_to_hub`. This is
    the only reliable check.

    Args:
        repo_id: "name" or "organisation/name".
        token: An access token; by default the token of the login.
        private: Whether a new repository is private.

    Returns:
        The full name of the repository, "user/name".

    Raises:
        PublishError: If there is no login, the name is invalid, the Hub cannot be reached, or the
            account has no write access.
    """
    api = HfApi(token=token)
    try:
        user = api.whoami()["name"]
    except (HfHubHTTPError, LocalTokenNotFoundError) as error:
        raise PublishError(
            f"You are not logged in to the Hub ({type(error).__name__}). Log in with `hf auth "
            "login`, or set HF_TOKEN."
        ) from error
    except (OSError, HTTPError) as error:
        raise PublishError(f"The Hub cannot be reached: {error}") from error
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        api.auth_check(repo_id, write=True)
    except (OSError, HTTPError, ValueError) as error:
        raise PublishError(
            f"{user} may not write to {repo_id}: {error}. Give a repository of {user} or of an "
            "organisation in which you have write access, and a token with write access."
        ) from error
    return repo_id


def publish_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Upload model",
) -> str:
    """Upload a run's folder to a model repository in one commit.

    Weights, divisions and shim of an earlier upload that the folder no longer has are deleted;
    other files of the repository stay.

    Args:
        folder: The folder, with at least config.json, model.safetensors and README.md. Write the
            card with the name of the repository first, see `write_model_card`.
        repo_id: "name" or "organisation/name"; created if it does not exist.
        private: Whether a new repository is private.
        token: An access token; by default the token of the login.
        revision: The branch to write to, created if it does not exist; by default main.
        commit_message: Message of the commit.

    Returns:
        The URL of the repository.

    Raises:
        PublishError: If a file is missing, the card is invalid, a file contains the access token,
            or the account has no write access.
    """
    folder = Path(folder)
    paths = files_to_publish(folder)
    _check_card(folder / "README.md")
    _check_secrets(folder, paths, token)
    api = HfApi(token=token)
    repo_id = check_can_publish(repo_id, token, private)
    if revision not in (None, "main") and not str(revision).startswith("refs/"):
        api.create_branch(repo_id, branch=str(revision), exist_ok=True)
    api.upload_folder(
        repo_id=repo_id,
        folder_path=folder,
        allow_patterns=paths,
        delete_patterns=list(_STALE),
        commit_message=commit_message,
        revision=revision,
    )
    return f"{api.endpoint}/{repo_id}"


def files_to_publish(folder: str | Path) -> list[str]:
    """The files of a folder that are published.

    Args:
        folder: The folder of a run.

    Returns:
        Paths inside the folder, sorted.

    Raises:
        PublishError: If config.json, the weights or README.md are missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PublishError(f"{folder} is not a folder.")
    names = {
        path.relative_to(folder).as_posix()
        for pattern in _PUBLISHED
        for path in folder.glob(pattern)
        if path.is_file() and not path.name.startswith(".") and path.name not in _PRIVATE
    }
    missing = sorted({"config.json", "README.md", *_weights(folder)} - names)
    if missing:
        raise PublishError(
            f"{folder} lacks {', '.join(missing)}: give the output folder of a training script, or "
            "save the model (`save_pretrained`) and its card (`write_model_card`) to it."
        )
    return sorted(names)


def _weights(folder: Path) -> set[str]:
    """The required files of the weights."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return {"model.safetensors"}
    return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())


def _check_card(path: Path) -> None:
    """Let the Hub validate the card's metadata, if it can be reached."""
    try:
        ModelCard.load(path).validate()
    except ValueError as error:
        raise PublishError(f"{path} is not a valid model card: {error}") from error
    except (OSError, HTTPError):
        return


def _check_secrets(folder: Path, paths: list[str], token: str | None) -> None:
    """Check that no file contains the access token, for example in a command line."""
    secret = token or get_token()
    for path in paths:
        is_text = path.endswith((".json", ".md", ".yaml"))
        if is_text and secret and secret in (folder / path).read_text(encoding="utf-8"):
            raise PublishError(f"{folder / path} contains your access token: remove it first.")
