"""Forecast scalars, forecast and instrument weights, and diversification multipliers, estimated from the data.

Only data from before a date decides what is used on that date, except where `in_sample` is asked for.
"""
