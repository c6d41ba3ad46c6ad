"""`python -m edge_tqs`."""

from edge_tqs.cli import main

main()
