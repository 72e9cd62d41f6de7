"""Networks, one idea a file, as graphs."""
