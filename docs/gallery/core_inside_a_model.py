"""How do I measure the recurrent core inside my model?

`capture` calls the model once, as you call it, and notes what its core really receives: behind the embedding, the
convolution or whatever stands in front. The spectrum is then taken along these inputs. Here it differs from one along
white noise by far more than its error.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov


class Tagger(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 8)
        self.encoder = torch.nn.LSTM(8, 24, batch_first=True)
        self.readout = torch.nn.Linear(24, 50)

    def forward(self, tokens):
        return self.readout(self.encoder(3 * self.embedding(tokens))[0])


torch.manual_seed(0)
model, tokens = Tagger(), torch.randint(0, 50, (8, 300))
captured = lyapunov.capture(model, tokens)
print(captured)
inside = lyapunov.spectrum(captured, k=24)
noise = lyapunov.spectrum(model.encoder, torch.randn(8, 300, 8), k=24)
print(f"as it is used {inside[0]:.3f} ± {inside.standard_errors[0]:.3f}, along noise {noise[0]:.3f}")
assert abs(inside.max - noise.max) > 5 * float(inside.standard_errors[0])

for spectrum, label in ((inside, "along what the model's core receives"), (noise, "along white noise")):
    lyapunov.plots.spectrum(spectrum, plt.gca(), marker="o", label=label)
plt.title("A core belongs to the inputs that it receives")
plt.legend()
plt.show()
