"""Networks trained and read epoch by epoch: what is run, what is read off, and the tables that are left."""
