"""What can go wrong on purpose: the class says what the program does next, the sentence what the person does."""


class PysysError(Exception):
    """Base of everything this library raises on purpose. The command line shows only its sentence."""

    exit_code = 1


class ConfigError(PysysError):
    """Wrong usage or configuration: nothing was started. Fix the file or the command."""

    exit_code = 2


class NotAllowedNow(PysysError):
    """The request is fine, but may not run now (window, another run, no-run, lease)."""

    exit_code = 3


class DataError(PysysError):
    """Input data that cannot be used as it is: malformed, missing or contradictory."""


class TryAgain(PysysError):
    """Nothing was changed; the same call may be repeated."""


class OutcomeUnknown(PysysError):
    """Sent, no answer. Ask the broker by order_ref; neither resend nor mark rejected."""


class OrderRejected(PysysError):
    """The broker refused the order; it will never work or fill."""


class NeedsOperator(PysysError):
    """A person must decide; nothing retries by itself."""
