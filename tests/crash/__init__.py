"""The order ledger under violence: processes killed at any moment, and dying at every commit and broker call in turn."""
