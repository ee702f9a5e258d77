"""Which version of the schema this program reads and writes."""

SCHEMA_REVISION = "0002"  # the newest migration in store/migrations
