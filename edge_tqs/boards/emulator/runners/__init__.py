"""Programs that start the simulators rp2040js and labwired, and chips for labwired; they run in processes of their
own.
"""
