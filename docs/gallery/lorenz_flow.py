"""How do I take the exponents of a differential equation?

Write one step of an integrator and pass its `dt`: exponents are then per unit of time. For the Lorenz system they are
0.906, 0 and -14.57 (Sprott 2003). The zero belongs to the direction of the flow.
"""

import matplotlib.pyplot as plt
import torch

import lyapunov

DT = 0.02


def velocity(s):
    x, y, z = s.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], dim=-1)


def runge_kutta(s, _):
    a = velocity(s)
    b = velocity(s + DT / 2 * a)
    c = velocity(s + DT / 2 * b)
    d = velocity(s + DT * c)
    return s + DT / 6 * (a + 2 * b + 2 * c + d)


start = lyapunov.known.lorenz(dt=DT).start(1000)
spectrum = lyapunov.spectrum(runge_kutta, state=start, steps=250, settle=150, align=250, dt=DT)
published = torch.tensor([0.9056, 0.0, -14.5723])
for exponent, error, exact in zip(spectrum.exponents, spectrum.standard_errors, published, strict=True):
    print(f"{exponent:8.3f} ± {error:.3f}   published {exact:8.3f}")
print(f"Kaplan-Yorke dimension {spectrum.kaplan_yorke_dimension:.3f}")
assert bool(((spectrum.exponents - published).abs() < 4 * spectrum.standard_errors).all())

running = spectrum.running_estimates()[:, :2]
time = DT * spectrum.history_steps.double().mean(dim=1).cumsum(0)
plt.plot(time, running, label=["first exponent", "second exponent"])
for exact in published[:2]:
    plt.axhline(exact, color="0.4", linestyle="--", linewidth=1)
plt.xlabel("time counted in each sequence")
plt.ylabel("running estimate (nats per unit of time)")
plt.title("Running estimates approach the published values (dashed)")
plt.legend()
plt.show()
