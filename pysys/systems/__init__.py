"""The research engine: prices in, positions and an account out. Arrays; no database, no broker, no clock."""
