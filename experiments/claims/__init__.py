"""The paper's claims and its open questions, tested on what the sweeps left."""
