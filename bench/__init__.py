"""What a signature costs: `make bench`, or `python -m bench`."""
