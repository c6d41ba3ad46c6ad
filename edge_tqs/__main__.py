"""`python -m edge_tqs`."""

from edge_tqs.cli.main import main

main()
