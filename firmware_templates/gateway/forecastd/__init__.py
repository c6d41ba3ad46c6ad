# SPDX-License-Identifier: Apache-2.0
"""Live forecasts on a gateway: readings in, samples at the model's period, forecasts out, each judged once it came due.

    source -> Reading -> resample -> Sample -> engine -> Forecast -> card -> Report -> sinks

One module a step; a source and a sink are one file each, in `sources` and `sinks`. Python 3.9 and its standard library.
"""
