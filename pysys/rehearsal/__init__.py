"""Rehearsals: whole trading days on a simulated clock, over stored prices or a synthetic market."""
