"""How sinks log in: the keys of a user name, and what they have to do with each other.

>>> from typing import Literal
>>> from xiaod.config.sinks.kind import SinkName, SinkStages
>>> class PigeonConfig(LoginModel):
...     LOGINS = ("username", "token")
...     kind: Literal["pigeon"]
...     name: SinkName = "pigeon"
...     stage: SinkStages = "all"
...     username: str | None = None
...     password: Password = None
...     token: str | None = None
>>> PigeonConfig(kind="pigeon", username="me", password="hush").password
SecretStr('**********')
>>> PigeonConfig(kind="pigeon", username="me")
Traceback (most recent call last):
pydantic_core._pydantic_core.ValidationError: ...
"""

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from xiaod.config.sinks.kind import SinkModel

Password = Annotated[
    SecretStr | None,
    Field(
        description='The password, or "${NAME}" for the environment variable of that name; better in a file.'
    ),
]
PasswordFile = Annotated[
    Path | None,
    Field(strict=False, description="File with the password in its first line; read at each connection."),
]
TokenFile = Annotated[
    Path | None,
    Field(strict=False, description="File with the token in its first line; read at each connection."),
]


class LoginModel(SinkModel):
    """Base of the kinds that log in."""

    LOGINS: ClassVar[tuple[str, ...]] = ("username",)
    """Keys of the ways to log in, of which there is one at most."""
    ASKS_PASSWORD: ClassVar[bool] = True
    """Whether a user name needs a password."""

    @model_validator(mode="after")
    def _one_login(self) -> Self:
        if self._has("password") and not self._has("username"):
            raise ValueError("username is missing beside the password")
        if self._has("username") and not self._has("password") and self.ASKS_PASSWORD:
            raise ValueError("username and password belong together; give both or none")
        ways = [key for key in self.LOGINS if self._has(key)]
        if len(ways) > 1:
            raise ValueError(f"{ways[1]} and {ways[0]} are both given; there is one way to log in")
        return self

    def _has(self, key: str) -> bool:
        """Whether there is a value, or a file that has it."""
        return any(getattr(self, name, None) is not None for name in (key, f"{key}_file"))
