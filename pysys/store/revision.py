"""Which version of the schema this program reads and writes."""

SCHEMA_REVISION = "0003"  # the newest migration in store/migrations
