"""Forecasters of PyTorch through litert-torch: what is opened, built, and how near to torch it is."""
