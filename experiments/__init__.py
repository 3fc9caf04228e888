"""The 2020 paper, figure by figure, with right exponents; and its claims, tested. Never imported by the package."""
