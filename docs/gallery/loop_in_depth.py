"""Is my looped transformer stable beyond the loops it was trained with?

A looped transformer applies one block again and again, so its steps are loops. Below zero, the largest exponent says
that small changes of the state fade from loop to loop. How much of the state the block carries over decides it here.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

torch.manual_seed(0)
layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
injected = torch.randn(128, 4, 8)
carried, largest, errors = (0.25, 0.5, 0.75, 1.0), [], []
for share in carried:
    loop = lyapunov.Loop(lambda h, e, share=share: share * layer(h) + e, injected, injected)
    spectrum = lyapunov.spectrum(loop, steps=20, k=1, settle=15, align=5)
    largest.append(spectrum.max)
    errors.append(2 * float(spectrum.standard_errors[0]))
    print(f"{share:.0%} of the state carried over: {spectrum.max:+.3f} nats per loop")
assert largest[0] < -0.5 < largest[-1]

plt.errorbar(carried, largest, errors, marker="o", capsize=3)
plt.axhline(0, color="0.2", linewidth=0.9)
plt.xlabel("fraction of the state carried over")
plt.ylabel("largest exponent (nats per loop)")
plt.title("A looped block forgets its start where the exponent is negative")
plt.show()
