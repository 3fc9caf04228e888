"""Which units carry the slowest memory?

A covariant vector is the direction that grows at exactly its exponent's rate. Its components say which rows of the
state carry it. In this LSTM two cells have forget gates that are more open than the others, and the slowest direction lives
in the cell that is opened widest.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
lstm, inputs = torch.nn.LSTM(3, 12, batch_first=True), torch.randn(6, 1000, 3)
with torch.no_grad():
    lstm.bias_ih_l0[12:14] = torch.tensor([2.5, 1.2])  # forget gates of cells 1 and 2

vectors = lyapunov.covariant_vectors(lstm, inputs, k=2, settle=150, align=200, align_back=200)
print(vectors)
carried = float(vectors.participation[12, 0])  # rows are h of 12 units, then c of 12 units
print(f"fraction of the slowest vector in the first cell: {carried:.2f}")
assert carried > 0.7

lyapunov.plots.participation(vectors, plt.gca())
plt.grid(visible=False)
plt.title("The slowest directions live in the cells with open gates")
plt.show()
