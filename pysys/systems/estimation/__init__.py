"""Forecast scalars, forecast and instrument weights, and diversification multipliers, estimated from the data.

A fit sees returns and forecasts from before the days it is used on, except where `in_sample` is asked for. Costs are
those of now, over the whole history: the past is judged by what trading costs today.
"""
