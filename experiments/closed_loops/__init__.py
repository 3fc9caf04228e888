"""Studies of networks that predict by themselves, and of flows whose exponents are published."""
