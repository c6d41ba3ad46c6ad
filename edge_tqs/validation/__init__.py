"""The pipeline from a build directory and a port to a verdict: rollouts on boards, comparison with the host,
diagnosis. Comes in: a build directory and ports. Goes out: validation.json and a report.
"""
