"""The order ledger under violence: processes killed at any moment, dying at every commit and every broker call."""
