"""Which inputs make the network forget?

An exponent is a mean over time. Local exponents are its terms, step by step, so they show which inputs expand small
changes and which erase them. This cell has a gate that one symbol closes: at a full stop most of the state is dropped.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

text = "a network reads. it forgets at the stop. then it goes on. " * 4
alphabet = sorted(set(text))
torch.manual_seed(0)
embedded = torch.nn.functional.one_hot(torch.tensor([alphabet.index(letter) for letter in text]), len(alphabet)).double()
weight, embedding = torch.randn(10, 10).double() / 10**0.5, torch.randn(len(alphabet), 10).double()
stop = alphabet.index(".")


def step(h, x):
    keep = 1 - 0.9 * x[:, stop : stop + 1]
    return 0.5 * keep * h + 0.5 * keep * torch.tanh(h @ weight.T + x @ embedding)


local = lyapunov.local_exponents(step, embedded[None], state=torch.zeros(1, 10), settle=58, align=58)
growth = local.growth[0, 116:174, 0]
at_stops = growth[[letter == "." for letter in text[116:174]]]
print(f"growth at a full stop {at_stops.mean():.2f} nats, mean of all steps {growth.mean():.2f}")
assert float(at_stops.mean()) < float(growth.mean()) - 1

lyapunov.plots.under_text(local, text, plt.figure(figsize=(9, 2.2)).gca(), start=116, lines=1, width=58)
plt.grid(visible=False)
plt.title("Growth at each letter: blue is forgetting")
plt.show()
