"""The configuration that forecastd begins with."""

from __future__ import annotations

from typing import Any

from edge_tqs.building.gateway.clocks import clock_of
from edge_tqs.building.request import ModelRequest
from edge_tqs.graph.graph import Forecast
from edge_tqs.project.series_format import period_text


def config(request: ModelRequest, forecast: Forecast) -> dict[str, Any]:
    """forecastd.json, as far as the project says it; what it leaves open, the program asks for."""
    columns = forecast.columns or tuple(f"channel {channel}" for channel in range(forecast.channels))
    made: dict[str, Any] = {
        "source": {"kind": "stdin"},
        "sinks": [{"kind": "jsonl", "path": "-"}],
        "columns": {name: {} for name in columns},
        "horizon": request.horizon,
        "resample": "last",
        "fill": {"most": 0, "by": "hold"},
    }
    data = None if request.series is None else request.series.data
    if data is not None:
        for name in columns:
            clock = clock_of(data, name)
            if clock is not None:
                made["columns"][name] = {"clock": clock}
        if data.series.period is not None:
            made["period"] = period_text(data.series.period)
        made["fill"] = {"most": data.how.fill, "by": "hold"}
        if data.how.time_zone is not None:
            made["time_zone"] = data.how.time_zone
    return made
