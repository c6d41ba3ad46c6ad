"""What `import edge_tqs` offers: a function per command, for notebooks, scripts and the command line. Comes in: paths,
plain keywords, and what an earlier function returned. Goes out: the objects of the packages below.
"""
