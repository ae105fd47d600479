"""The location of the user's own files: settings, keymap and machine facts."""

from __future__ import annotations

import os
from pathlib import Path

from llmops_tui.foreign_text import JsonObject, parse_toml


def with_home(path: str | Path) -> Path:
    """A path with a leading ``~`` or ``~user`` replaced, as a shell does it: a user who is not known stays as typed.

    ``Path.expanduser`` raises instead, in words that name no file.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111


def settings_folder() -> Path:
    """Where settings and the keymap are kept."""
    from platformdirs import user_config_path

    return user_config_path("llmops")


def state_folder() -> Path:
    """Where what was found out about this machine is kept; losing it costs finding it out again."""
    from platformdirs import user_state_path

    return user_state_path("llmops")


def settings_path() -> Path:
    """The settings file."""
    return settings_folder() / "settings.toml"


def approved_rules_path() -> Path:
    """The hashes of alert rules whose commands this user let run."""
    return settings_folder() / "approved-alerts"


def approved_tool_servers_path() -> Path:
    """The hashes of the commands of tool servers that this user let run."""
    return settings_folder() / "approved-tool-servers"


def approved_rewards_path() -> Path:
    """The hashes of Python files whose functions this user let be rewards."""
    return settings_folder() / "approved-rewards"


def known_workspaces_path() -> Path:
    """The workspace folders that this user made or trusts."""
    return settings_folder() / "known-workspaces.json"


def approved_keys_path() -> Path:
    """Which key may be sent to which host, as this user said."""
    return settings_folder() / "approved-keys.json"


def known_access_keys_path() -> Path:
    """The access keys that this user made, by hashes of what each may do."""
    return settings_folder() / "known-access-keys.json"


def peek_settings() -> JsonObject:
    """The file as it is, unchecked, or nothing: for the little that is needed before the first frame."""
    try:
        return parse_toml(settings_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no UTF-8 and no TOML are both ValueErrors
        return {}
