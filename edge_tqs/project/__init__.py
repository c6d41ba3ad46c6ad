"""edge-tqs.toml and the user's series: columns, scaling, windows. Comes in: files of the user. Goes out: Project and
Series.
"""
