"""What an intervention is handed besides its arguments, and how it refuses."""

from dataclasses import dataclass
from datetime import datetime

from pysys.config import Config
from pysys.domain.errors import NeedsOperator


class Refused(NeedsOperator):
    """It would break the ledger, or makes no sense. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks, why, and whether guards are overridden, with the reason that is kept."""

    token: str
    who: str
    why: str
    override: str  # the reason to do it all the same; blank: guards hold
    now: datetime  # UTC
    config: Config

    @property
    def note(self) -> str:
        """For the rows it leaves behind."""
        reason = f"; overridden: {self.override}" if self.override else ""
        return f"by {self.who}: {self.why}{reason}"

    def guard(self, broken: bool, sentence: str) -> None:
        """Raises Refused where the ledger would be broken, unless the request overrides that with a reason."""
        if broken and not self.override:
            raise Refused(f"{sentence} To do it all the same, give a reason as `override`.")


def refuse(broken: bool, sentence: str) -> None:
    """Raises Refused; no reason overrides this one."""
    if broken:
        raise Refused(sentence)
