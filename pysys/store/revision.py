"""Which version of the schema this program reads and writes."""

SCHEMA_REVISION = "0004"  # the newest migration in store/migrations
