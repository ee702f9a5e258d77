"""How settings reach a kernel, and what must never leave one."""

import json
import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from pydantic import SecretStr

from pysys.config import Settings, load_settings

_SHORTEST_SECRET = 4  # letters; shorter ones would blot out ordinary text


def kernel_environment(settings: Settings) -> dict[str, str]:
    """Environment in which `load_settings()` finds these settings again, whatever they were made from."""
    environment = {**os.environ, "PYSYS_HOME": str(settings.home)}
    found = load_settings(settings.home, environment).config
    for key in type(settings.config).model_fields:
        value = getattr(settings.config, key)
        if value != getattr(found, key):
            environment[f"PYSYS_{key.upper()}"] = _as_text(settings, key, value)
    return environment


def _as_text(settings: Settings, key: str, value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if type(settings.config).model_fields[key].annotation is str:
        return str(value)
    return json.dumps(settings.config.model_dump(mode="json")[key])


def secrets_of(settings: Settings) -> list[str]:
    """Every secret in the configuration that is long enough to be recognised."""
    config = settings.config
    values = [getattr(config, key) for key in type(config).model_fields]
    secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
    password = urlsplit(settings.database_url).password
    if password is not None:
        secrets.append(password)
    return [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]


def without_secrets(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[secret removed]")
    return text
